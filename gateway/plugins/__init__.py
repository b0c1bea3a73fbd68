"""One file a plugin. ``twisted.plugin`` finds them here, and in any other directory on the
Python path that holds ``gateway/plugins``."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
