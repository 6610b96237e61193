"""Where models lie and how they get there."""

from .block import BlockStorageClass, BlockStorageClassArgs
from .bucket_access import ModelBucketAccess, ModelBucketAccessArgs
from .bucket_policies import reader_statements, writer_statements
from .cache_check import cache_check_container
from .compile_cache import CompileCache, compile_cache, compile_key, keeps_compiled
from .efs import EfsFileSystem, EfsFileSystemArgs, EfsThroughput
from .gated import check_token
from .load import load_settings
from .lustre import LustreFileSystem, LustreFileSystemArgs
from .model_bucket import ModelBucket, ModelBucketArgs
from .model_cache import BlockArgs, CsiVolumeArgs, ModelCache, ModelCacheArgs, NfsArgs, NodeDiskArgs
from .model_download import AdapterRepositoryArgs, ModelDownload, ModelDownloadArgs, RepositoryArgs

__all__ = [
    "AdapterRepositoryArgs",
    "BlockArgs",
    "BlockStorageClass",
    "BlockStorageClassArgs",
    "CompileCache",
    "CsiVolumeArgs",
    "EfsFileSystem",
    "EfsFileSystemArgs",
    "EfsThroughput",
    "LustreFileSystem",
    "LustreFileSystemArgs",
    "ModelBucket",
    "ModelBucketAccess",
    "ModelBucketAccessArgs",
    "ModelBucketArgs",
    "ModelCache",
    "ModelCacheArgs",
    "ModelDownload",
    "ModelDownloadArgs",
    "NfsArgs",
    "NodeDiskArgs",
    "RepositoryArgs",
    "cache_check_container",
    "check_token",
    "compile_cache",
    "compile_key",
    "keeps_compiled",
    "load_settings",
    "reader_statements",
    "writer_statements",
]
