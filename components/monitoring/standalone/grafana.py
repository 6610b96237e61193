"""Grafana: shows the dashboards, for both forms of the stack. It keeps nothing, for all it has comes from files. Pure."""

from typing import Any

import yaml

from ...versions import GRAFANA_IMAGE
from .pods import Program

PORT = 3000
DATA, PROVISIONING, DASHBOARDS, ADMIN = "/var/lib/grafana", "/etc/grafana/provisioning", "/dashboards", "/etc/grafana/admin"
"""Directories inside the container."""
FILES = {"grafana.ini": "grafana.ini", "sources.yaml": "datasources/sources.yaml", "provider.yaml": "dashboards/provider.yaml"}
"""Keys of its ConfigMap, and where below `PROVISIONING` each is."""
_UID = 472
_FOLDER = "LLM platform"


def grafana_settings(*, external_url: str, with_admin: bool, prometheus: str, loki: str | None) -> dict[str, str]:
    """Data of the ConfigMap with what it reads when it starts."""
    return {
        "grafana.ini": grafana_ini(external_url=external_url, with_admin=with_admin),
        "sources.yaml": data_sources(prometheus=prometheus, loki=loki),
        "provider.yaml": dashboard_provider(),
    }


def grafana_ini(*, external_url: str, with_admin: bool) -> str:
    """The file grafana.ini. Without an admin everybody who reaches it may look, and nobody may change anything.

    It asks grafana.com for nothing and tells it nothing (grafana.com/docs, "Configure Grafana").
    """
    sections: dict[str, dict[str, Any]] = {
        "server": {"root_url": external_url},
        "paths": {"data": DATA, "provisioning": PROVISIONING},
        "log": {"mode": "console"},
        "log.console": {"format": "json"},
        "analytics": {"reporting_enabled": False, "check_for_updates": False, "check_for_plugin_updates": False},
        "news": {"news_feed_enabled": False},
        "plugins": {"preinstall_disabled": True, "plugin_admin_enabled": False},
        "snapshots": {"external_enabled": False},
        "security": {
            "disable_initial_admin_creation": not with_admin,
            "disable_gravatar": True,
            "x_content_type_options": True,
        },
        "users": {"allow_sign_up": False},
        "auth": {"disable_login_form": not with_admin},
        "auth.basic": {"enabled": with_admin},
        "auth.anonymous": {"enabled": not with_admin, "org_role": "Viewer"},
        # Alerts are rules of Prometheus.
        "unified_alerting": {"enabled": False},
    }
    lines = []
    for section, settings in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def data_sources(*, prometheus: str, loki: str | None) -> str:
    """The file of data sources; the first is the one that dashboards choose."""
    found: list[dict[str, Any]] = [
        {"name": "Prometheus", "type": "prometheus", "uid": "prometheus", "url": prometheus, "isDefault": True},
    ]
    if loki is not None:
        found.append({"name": "Loki", "type": "loki", "uid": "loki", "url": loki})
    sources = [{**each, "access": "proxy", "editable": False} for each in found]
    return yaml.safe_dump({"apiVersion": 1, "datasources": sources}, sort_keys=False)


def dashboard_provider() -> str:
    """The file that names the directory of the dashboards, which Grafana looks at every half minute."""
    provider = {
        "name": "llm-platform",
        "folder": _FOLDER,
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": DASHBOARDS},
    }
    return yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)


def grafana_program(admin_key: str | None) -> Program:
    """The program; `admin_key` is the file of the admin's password, where there is an admin."""
    env = {"GF_PATHS_CONFIG": f"{PROVISIONING}/grafana.ini"}
    if admin_key is not None:
        env["GF_SECURITY_ADMIN_PASSWORD__FILE"] = f"{ADMIN}/{admin_key}"
    return Program(
        image=GRAFANA_IMAGE,
        port=PORT,
        uid=_UID,
        ready="/api/health",
        alive="/api/health",
        args=(),
        cpu="50m",
        memory_mib=384,
        start_seconds=180,
        stop_seconds=30,
        scratch={"data": DATA, "tmp": "/tmp", "logs": "/var/log/grafana"},  # noqa: S108 - paths inside the container
        env=env,
    )
