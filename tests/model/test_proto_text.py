"""Whether a text is a Protocol Buffers definition."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from gateway.model.proto_text import ProtoError, check

GOOD = (
    'syntax = "proto3";',
    "",
    "// nothing but words\n",
    """
    syntax = "proto3";
    package helloworld;
    import "google/protobuf/any.proto";
    option java_package = "a.b";
    service Greeter {
        rpc SayHello (HelloRequest) returns (HelloReply) {}
        rpc Many (stream .a.HelloRequest) returns (stream HelloReply) { option (x) = { a: 1 }; };
        rpc Plain (A) returns (B);
    }
    enum Gender { option allow_alias = true; FEMALE = 0; MALE = 1 [deprecated = true]; OTHER = -1; }
    message Person {
        string name = 1;
        int32 age = 2 [json_name = "years", (x.y) = 3];
        repeated .a.b.Thing things = 3;
        map<string, int32> counts = 4;
        oneof kind { string a = 5; Inner b = 6; }
        message Inner { optional bytes raw = 1; ; }
        reserved 7, 9 to 11;
        reserved "old";
        /* a comment
           over lines */
        Gender gender = 8;
    }
    """,
    'syntax = "proto2"; message A { required int32 a = 0x1; extensions 100 to max; '
    "optional group G = 2 { optional int32 b = 1; } } extend A { optional int32 c = 100; }",
    base64.b64encode(b"\n\x05hello").decode(),
)
BAD = (
    "xxx",
    "message A {",
    "message A }",
    "message A { string a; }",
    "message A { string a = 1 }",
    "message A { string = 1; }",
    'syntax = "proto3"',
    'syntax = "proto3',
    "service A { rpc B (C); }",
    "enum A { B; }",
    "message { }",
    "message A { map<string> a = 1; }",
    "§",
    "message A {" * 40,
    "/* open",
)


class ProtoTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Definitions of both versions of the language are taken, and compiled ones."""
        for text in GOOD:
            check(text)

    def test_bad(self) -> None:
        """What is none is refused, with its place."""
        for text in BAD:
            with self.subTest(text=text):
                self.assertRaises(ProtoError, check, text)
        error = self.assertRaises(ProtoError, check, "message A {\n  string a;\n}")
        self.assertEqual(str(error), "line 2: found ';', '=' is needed")
        error = self.assertRaises(ProtoError, check, "message A {")
        self.assertEqual(str(error), "at the end of the text, a name is needed")
