"""Where configuration is kept: providers of ``gateway.interfaces.IConfigStore``."""
