"""OWLv2, Depth Anything and Segment Anything at a tiny size, saved as their hub folders are: random
ones, and ones whose weights are set so that what they say of a picture is known by hand."""

from collections.abc import Sequence
from math import log
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    PreTrainedTokenizerFast,
    SamConfig,
    SamImageProcessorPil,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from ablate2tune.compare.judges.zero_shot import ZeroShotConfig

GRID, PIXELS, WIDTH = 8, 32, 4
"""The detector's patches per side, the side of the picture it sees, and the width of its tokens."""
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
"""CLIP's, with which OWLv2's pixels are normalised."""


def save_detector(folder: Path, labels: Sequence[str], seed: int = 0) -> Path:
    """A random OWLv2 that knows each query as one word."""
    _save(_owlv2(len(labels) + 4, seed), folder, [f"a photo of a {label}" for label in labels])
    return folder


def save_knowing_detector(folder: Path, colours: dict[str, tuple[int, int, int]]) -> Path:
    """An OWLv2 that knows labels by their colour, patch by patch.

    A patch's score for a label is sigmoid(20 (c - 0.5)), where c is the cosine between the centred
    normalised colours of the two. Its box is twice as wide and high as a patch, about the patch's
    lower right corner.
    """
    model = _owlv2(len(colours) + 4, 0)
    owl, heads = model.owlv2, (model.class_head, model.box_head)
    with torch.no_grad():
        for part in (owl, *heads):
            for name, weight in part.named_parameters():
                norm = name.endswith("weight") and "norm" in name
                weight.fill_(1.0 if norm else 0.0)
        for layer in (owl.text_projection, model.class_head.dense0):
            layer.weight.copy_(torch.eye(WIDTH))
        patches = owl.vision_model.embeddings.patch_embedding.weight
        for channel in range(3):
            patches[channel, channel] = 1 / patches[0, 0].numel()
        owl.vision_model.post_layernorm.bias.fill_(1.0)  # the class token multiplies by one
        for number, colour in enumerate(colours.values(), start=4):
            owl.text_model.embeddings.token_embedding.weight[number] = _direction(colour)
        model.class_head.logit_shift.bias.fill_(-0.5)
        model.class_head.logit_scale.bias.fill_(19.0)
        model.box_head.dense2.bias[2:] = _logit(2 / GRID) - _logit(1 / GRID)
    _save(model, folder, [f"a photo of a {label}" for label in colours])
    return folder


def save_depth(folder: Path, kind: str = "relative", seed: int = 0) -> Path:
    """A random Depth Anything."""
    _save_depth(_depth_anything(kind, seed), folder)
    return folder


def save_masks(folder: Path, seed: int = 0) -> Path:
    """A random Segment Anything."""
    torch.manual_seed(seed)
    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=1,
        image_size=PIXELS, patch_size=8, window_size=2, global_attn_indexes=[0], num_pos_feats=8,
        mlp_dim=8, initializer_range=0.5,
    )  # fmt: skip
    asked = SamPromptEncoderConfig(
        hidden_size=16, image_size=PIXELS, patch_size=8, mask_input_channels=4
    )
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=8, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=8
    )
    SamModel(
        SamConfig(
            vision_config=vision,
            prompt_encoder_config=asked,
            mask_decoder_config=decoder,
            initializer_range=0.5,
        )
    ).save_pretrained(folder)
    side, low = {"height": PIXELS, "width": PIXELS}, {"height": 16, "width": 16}
    SamImageProcessorPil(
        size={"longest_edge": PIXELS}, pad_size=side, mask_size={"longest_edge": 16},
        mask_pad_size=low,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_knowing_depth(folder: Path, kind: str = "relative") -> Path:
    """A Depth Anything whose output rises with a patch's red and falls with its blue."""
    model = _depth_anything(kind, 0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            norm = name.endswith("weight") and "norm" in name
            weight.fill_(1.0 if norm else 0.0)
        embeddings = model.backbone.embeddings
        patches = embeddings.patch_embeddings.projection.weight
        patches[0, 0], patches[0, 2] = 1 / patches[0, 0].numel(), -1 / patches[0, 0].numel()
        embeddings.position_embeddings[..., 1] = 8.0  # so that normalising keeps the order
        reassemble = model.neck.reassemble_stage.layers[0]
        reassemble.projection.weight[:2] = torch.eye(4)[:2, :, None, None]
        model.neck.convs[0].weight[:, :, 1, 1] = torch.eye(4)
        model.neck.fusion_stage.layers[0].projection.weight[:, :, 0, 0] = torch.eye(4)
        model.head.conv1.weight[0, 0, 1, 1] = 1.0
        model.head.conv1.bias[0] = 4.0
        model.head.conv2.weight[0, 0, 1, 1] = 1.0
        model.head.conv3.weight[0, 0] = 1.0
    _save_depth(model, folder)
    return folder


def tiny_judge(folder: Path, labels: Sequence[str], **settings) -> ZeroShotConfig:
    """Both random models below a folder."""
    return ZeroShotConfig(
        detector=str(save_detector(folder / "detector", labels)),
        depth=str(save_depth(folder / "depth")),
        **settings,
    )


def _direction(colour: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor([*(np.array(colour) / 255 - MEAN) / STD, 0.0], dtype=torch.float32)


def _logit(p: float) -> float:
    return log(p / (1 - p))


def _owlv2(words: int, seed: int) -> Owlv2ForObjectDetection:
    torch.manual_seed(seed)
    common = {
        "hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 1, "initializer_factor": 20.0,
    }  # fmt: skip
    tokens = {"vocab_size": words, "pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 1}
    return Owlv2ForObjectDetection(
        Owlv2Config(
            text_config={**common, **tokens, "max_position_embeddings": 8},
            vision_config={**common, "image_size": PIXELS, "patch_size": PIXELS // GRID},
            projection_dim=WIDTH,
            initializer_factor=20.0,
        )
    )


def _save(model: Owlv2ForObjectDetection, folder: Path, queries: Sequence[str]) -> None:
    words = ["<pad>", "</s>", "<unk>", "<s>", *queries]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=8
    ).save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": PIXELS, "width": PIXELS}).save_pretrained(folder)
    model.save_pretrained(folder)


def _depth_anything(kind: str, seed: int) -> DepthAnythingForDepthEstimation:
    torch.manual_seed(seed)
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=Dinov2Config(
                hidden_size=4, num_hidden_layers=1, num_attention_heads=1, mlp_ratio=1,
                image_size=32, patch_size=4, out_indices=[1], reshape_hidden_states=False,
            ),
            patch_size=4, reassemble_hidden_size=4, reassemble_factors=[1], neck_hidden_sizes=[4],
            fusion_hidden_size=4, head_hidden_size=2, depth_estimation_type=kind,
            max_depth=20 if kind == "metric" else 1, initializer_range=0.5,
        )
    )  # fmt: skip


def _save_depth(model: DepthAnythingForDepthEstimation, folder: Path) -> None:
    DPTImageProcessorPil(
        size={"height": 32, "width": 32}, keep_aspect_ratio=True, ensure_multiple_of=4
    ).save_pretrained(folder)
    model.save_pretrained(folder)
