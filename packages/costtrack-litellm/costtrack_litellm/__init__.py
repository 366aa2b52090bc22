"""Reports the calls of LiteLLM's proxy or SDK to costtrack and enforces costtrack's spend limits.

    proxy   litellm_settings: {callbacks: costtrack_litellm.callback}
    SDK     litellm.callbacks = [costtrack_litellm.callback]

README.md describes the settings, docs/gateway.md how each kind of call is settled.
"""

from costtrack_litellm.hook import CosttrackCallback
from costtrack_litellm.refusals import CallRefusedError
from costtrack_litellm.settings import Settings

__all__ = ["CallRefusedError", "CosttrackCallback", "Settings", "callback"]

callback = CosttrackCallback()
