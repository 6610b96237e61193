"""Where models lie and how they get there."""

from components.storage.bucket_policies import reader_statements, writer_statements
from components.storage.efs import EfsFileSystem, EfsFileSystemArgs, EfsThroughput
from components.storage.lustre import LustreFileSystem, LustreFileSystemArgs
from components.storage.model_bucket import ModelBucket, ModelBucketArgs
from components.storage.model_cache import CsiVolumeArgs, ModelCache, ModelCacheArgs
from components.storage.model_download import ModelDownload, ModelDownloadArgs

__all__ = [
    "CsiVolumeArgs",
    "EfsFileSystem",
    "EfsFileSystemArgs",
    "EfsThroughput",
    "LustreFileSystem",
    "LustreFileSystemArgs",
    "ModelBucket",
    "ModelBucketArgs",
    "ModelCache",
    "ModelCacheArgs",
    "ModelDownload",
    "ModelDownloadArgs",
    "reader_statements",
    "writer_statements",
]
