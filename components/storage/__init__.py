"""Where models lie and how they get there."""

from components.storage.block import BlockStorageClass, BlockStorageClassArgs
from components.storage.bucket_access import ModelBucketAccess, ModelBucketAccessArgs
from components.storage.bucket_policies import reader_statements, writer_statements
from components.storage.cache_check import cache_check_container
from components.storage.compile_cache import CompileCache, compile_cache, compile_key, keeps_compiled
from components.storage.efs import EfsFileSystem, EfsFileSystemArgs, EfsThroughput
from components.storage.gated import check_token
from components.storage.load import load_settings
from components.storage.lustre import LustreFileSystem, LustreFileSystemArgs
from components.storage.model_bucket import ModelBucket, ModelBucketArgs
from components.storage.model_cache import BlockArgs, CsiVolumeArgs, ModelCache, ModelCacheArgs, NfsArgs, NodeDiskArgs
from components.storage.model_download import AdapterRepositoryArgs, ModelDownload, ModelDownloadArgs, RepositoryArgs

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
