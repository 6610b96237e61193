"""Where models lie and how they get there."""

from components.storage.model_cache import ModelCache, ModelCacheArgs
from components.storage.model_download import ModelDownload, ModelDownloadArgs

__all__ = ["ModelCache", "ModelCacheArgs", "ModelDownload", "ModelDownloadArgs"]
