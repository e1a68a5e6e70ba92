"""CLIP features (Radford et al. 2021, arXiv:2103.00020) of pictures and captions; CLIP score."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from ablate2tune.errors import UserError, reason

BATCH = 64
"""Pictures or captions per forward; fixed, so that figures do not depend on resumption."""
WHERE = "localize.generate.clip"


class Clip:
    """A CLIP model in float32."""

    def __init__(self, name: str, device: torch.device | str = "cpu"):
        """Load a folder or a hub name.

        Raises:
            UserError: it cannot be loaded or is no CLIP model.
        """
        try:
            model = CLIPModel.from_pretrained(name, dtype=torch.float32)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            vision: Any = model.config.vision_config
            self._prepared: Any = processor_of(name, int(vision.image_size))
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise UserError(
                f"cannot load the CLIP model ({reason(error)})",
                where=f"{WHERE} = {name}",
                mend="set it to a local folder of a CLIPModel with its tokenizer",
            ) from error
        self._model: Any = model.eval().requires_grad_(False)
        self._model.to(device)
        self._device, self.name = torch.device(device), name
        self._tokens = int(self._model.config.text_config.max_position_embeddings)

    def describe(self) -> dict[str, Any]:
        """Which model it is: its name and a hash of its weights."""
        digest = hashlib.sha256()
        for key, value in sorted(self._model.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return {"model": self.name, "content": digest.hexdigest()[:16]}

    @torch.no_grad()
    def image_features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Projected features, not normalised: float64 (n, features).

        Args:
            images: uint8, (height, width, 3) each; sizes may differ.
        """
        parts = []
        for start in range(0, len(images), BATCH):
            some = list(images[start : start + BATCH])
            prepared = self._prepared(some, input_data_format="channels_last", return_tensors="pt")
            found = self._model.get_image_features(prepared["pixel_values"].to(self._device))
            parts.append(found.pooler_output.double().cpu().numpy())
        return np.concatenate(parts)

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """Projected features, not normalised: float64 (n, features); long texts are cut."""
        parts = []
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenizer(
                list(texts[start : start + BATCH]),
                padding="max_length",
                truncation=True,
                max_length=self._tokens,
                return_tensors="pt",
            ).to(self._device)
            found = self._model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            parts.append(found.pooler_output.double().cpu().numpy())
        return np.concatenate(parts)


def processor_of(name: str, size: int) -> CLIPImageProcessorPil:
    """How a CLIP model's pictures are prepared: its own file, or as OpenAI's were.

    Args:
        name: folder or hub name of the model; one without `preprocessor_config.json` was saved
            without its processor.
        size: pixels of its pictures, where there is no such file.
    """
    try:
        return CLIPImageProcessorPil.from_pretrained(name)
    except OSError:
        return CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )


def clip_scores(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Cosine of each picture with its own caption, (n,), in [-1, 1].

    The "CLIP score" of Diffusion-Transformer-Ablations. Hessel et al. (2021, arXiv:2104.08718)
    multiply it by 2.5, torchmetrics by 100, and both cut it off at 0.

    Args:
        images: features, (n, features).
        texts: features, (n, features).
    """
    norms = np.linalg.norm(images, axis=1) * np.linalg.norm(texts, axis=1)
    return (images * texts).sum(1) / norms
