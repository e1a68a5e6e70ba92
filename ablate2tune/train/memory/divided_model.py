"""A frozen model in pieces, one on each process: PyTorch's FSDP2, as accelerate's launcher asks.

The base is nearly all of the memory, and each process keeps 1/n of it; a block is gathered as it
runs, forward or back, and let go after it. The adapter, its gradients and its moments are small:
each process holds all of them, as without it, so that steps, checkpoints and files are the same.
"""

from collections.abc import Sequence
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from ablate2tune.errors import UserError
from ablate2tune.models.adapter_files import NAME
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.process.launched import divided_among
from ablate2tune.train.adapter import trainable
from ablate2tune.train.memory.turns import Turns, without_views
from ablate2tune.train.methods.adapter_method import METHODS
from ablate2tune.train.train_config import TrainConfig

FEW = "weights of few bits"
MEND = "leave it out, or use --multi_gpu in place of --use_fsdp"


class Processes(Accelerator):
    """accelerate's, which keeps the processes in step where they hold a model in pieces."""

    _turns: Turns | None = None

    def divide(self, model: nn.Module, blocks: Sequence[nn.Module]) -> str:
        """Leave each process a piece of each frozen weight, on its device; a line that says so.

        Args:
            model: with its adapter on, on any device; the same on all processes.
            blocks: of it, that are gathered one at a time; the rest is gathered as a whole.
        """
        # It is slow to import, and needed by few.
        from torch.distributed.fsdp import fully_shard

        whole = [p for n, p in model.named_parameters() if NAME in n.split(".") or not p.ndim]
        for parameter in whole:
            parameter.data = parameter.data.to(self.device)
        pieces = sum(p.nbytes for p in {*model.parameters()} - {*whole}) / self.num_processes
        given: dict[str, Any] = {
            "mesh": init_device_mesh(self.device.type, (self.num_processes,)),
            # Also of what is left beside the blocks: so each pass begins alike on all processes.
            "reshard_after_forward": True,
            "ignored_params": {*whole},
        }
        for block in blocks:
            block.register_forward_hook(lambda _, given, output: without_views(output))
            fully_shard(block, **given)
        fully_shard(model, **given)
        self._turns = Turns(model, list(trainable(model).values()))
        return (
            f"divided: each of {self.num_processes} processes holds {pieces / 1e9:.2g} GB of the "
            "base, and the whole adapter; memory and time are not foretold"
        )

    def reduce(self, *given: Any, **named: Any) -> Any:
        """accelerate's, once no process has a pass of its model left to make."""
        self._meet()
        return super().reduce(*given, **named)

    def wait_for_everyone(self) -> None:
        """accelerate's, once no process has a pass of its model left to make."""
        self._meet()
        super().wait_for_everyone()

    def _meet(self) -> None:
        if self._turns:
            self._turns.finish()


def check_divisible(model: ModelConfig, config: TrainConfig, text: bool) -> None:
    """Refuse what a run whose model is divided cannot do, if this one's is.

    Args:
        model: of the run.
        config: of the run.
        text: whether it is a language model that is taught.

    Raises:
        UserError: with what to change.
    """
    processes = divided_among()
    if processes == 1:
        return
    method, named = METHODS[config.method], f"train.method = {config.method}"
    refused = (
        (text, f"model.path = {model.path}", "a language model is not divided"),
        (model.quantize, f"model.quantize = {model.quantize}", f"{FEW} are not divided"),
        (config.compile, "train.compile = true", "compiled blocks are not divided"),
        (method.looks_first, named, "it runs the model before that is divided"),
        (method.reads_weights, named, "it computes with weights, which are divided"),
    )
    for is_so, where, what in refused:
        if is_so:
            raise UserError(what, where=where, mend=MEND)
    if config.batch_size < processes:
        raise UserError(
            f"{processes} processes that divide a model need as many pictures in a step",
            where=f"train.batch_size = {config.batch_size}",
            mend=f"set it to {processes} or more",
        )
