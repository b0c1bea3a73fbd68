"""The shapes of documents in the apisix dialect (Admin API contract §5), one module a resource.

A ``SCHEMA`` validates what is written and is what the schema endpoints publish. Its defaults are
announced and never stored. The order of the members and keywords is that of the checks.
"""
