class AccessLog:
    def __init__(self, path, format, *, flush_s, buffer_bytes, clock): self.f=open(path,'a')
    def write(self, x): self.f.write(f"{x.id} {x.method} {x.target} {x.outcome} {x.attempts}\n"); self.f.flush()
    def close(self): self.f.close()
