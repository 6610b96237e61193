"""The emulated provider: hands each engine operation to the module that does it."""

from pulumi.provider.experimental.provider import ConstructRequest, ConstructResponse

from sandbox.providers.contract import Checked, Diffed, Live, Request
from sandbox.providers.engine import Engine
from sandbox.providers.host import Provider
from sandbox.providers.kubernetes import applying, checking, components, diffing, reading, settings
from sandbox.providers.kubernetes.client import Cluster
from sandbox.providers.kubernetes.context import Context
from sandbox.providers.kubernetes.helm import release
from sandbox.providers.properties import Properties


class KubernetesProvider(Provider):
    """One configured provider instance."""

    name = "kubernetes"
    version = "4.34.2"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.context = Context(engine, self.cancelled, Cluster(None), settings.Settings())

    async def check_settings(self, request: Request) -> Checked:
        return settings.check(request)

    async def diff_settings(self, request: Request) -> Diffed:
        return settings.diff(request)

    async def set_up(self, given: Properties) -> None:
        self.context = Context(self.engine, self.cancelled, settings.cluster(given.values), settings.read(given.values))

    async def check_resource(self, request: Request) -> Checked:
        work = release.check if request.type == release.TYPE else checking.check
        return await work(self.context, request)

    async def diff_resource(self, request: Request) -> Diffed:
        work = release.diff if request.type == release.TYPE else diffing.diff
        return await work(self.context, request)

    async def create_resource(self, request: Request) -> Live:
        work = release.create if request.type == release.TYPE else applying.create
        return await work(self.context, request)

    async def update_resource(self, request: Request) -> Properties:
        work = release.update if request.type == release.TYPE else applying.update
        return await work(self.context, request)

    async def read_resource(self, request: Request) -> Live:
        work = release.read if request.type == release.TYPE else reading.read
        return await work(self.context, request)

    async def delete_resource(self, request: Request) -> None:
        work = release.delete if request.type == release.TYPE else reading.delete
        await work(self.context, request)

    async def construct(self, request: ConstructRequest) -> ConstructResponse:
        return await components.construct(request, self.version)
