"""A training run from start to saved predictor, resumable at any point."""

import ctypes
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, AutoTokenizer, TrainingArguments

import lookahead_router
from lookahead_router._files import replacing_folder, write_text
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import CheckpointError, ConfigurationError, DataError
from lookahead_router.hub.layout import FORMAT_VERSION, PredictorConfig, PredictorFolder, write_json
from lookahead_router.networks.configuration import LookaheadMLMConfig
from lookahead_router.networks.mlm import LookaheadMLM
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.batches import TokenizedDataset, ranks_candidates
from lookahead_router.training.recipe import Recipe
from lookahead_router.training.trainer import AVERAGE_FILE, LookaheadTrainer, load_average, read_best
from lookahead_router.types import CandidatePool, describe


def fit(
    dataset: RoutingDataset,
    recipe: Recipe,
    output: str | Path,
    *,
    backbone: str | Path | None = None,
    show_progress: bool = True,
) -> LookaheadPredictor:
    """Trains a predictor and returns it, loaded from `output/predictor` with the torch backend.

    Called again with the same arguments, it resumes at the last whole checkpoint, and returns the
    finished predictor at once where there is one.

    Args:
        dataset: must hold the recipe's training and validation splits.
        recipe: every setting.
        output: folder of the run: checkpoints, the best weights, `history.jsonl`, the predictor.
        backbone: folder to load the recipe's backbone from, where it is not to come from the Hub.
        show_progress: a progress bar with the losses.

    Raises:
        DataError: a split is missing or ranks nothing.
        ConfigurationError: settings that the backbone cannot take, or another run's output folder.
        CheckpointError: the backbone cannot be loaded.
    """
    output = Path(output)
    dataset = _without(dataset, recipe.data.exclude_sources)
    _claim(output, recipe, dataset.fingerprint())
    predictor = output / "predictor"
    if not predictor.is_dir():
        _train(dataset, recipe, output, str(backbone or recipe.backbone), show_progress)
    return LookaheadPredictor.load(predictor, backend="torch")


def _without(dataset: RoutingDataset, sources: tuple[str, ...]) -> RoutingDataset:
    unknown = set(sources) - set(dataset.sources)
    if unknown:
        raise DataError(f"exclude_sources names {sorted(unknown)}; there are {sorted(set(dataset.sources))}")
    return dataset.select(~np.isin(dataset.sources, sources)) if sources else dataset


def _claim(output: Path, recipe: Recipe, fingerprint: str) -> None:
    """Writes what the run is, or checks that the folder holds this very run."""
    path = output / "run.yaml"
    content = f"# data fingerprint: {fingerprint}\n{recipe.to_yaml()}"
    if path.is_file():
        if path.read_text(encoding="utf-8") != content:
            raise ConfigurationError(
                f"{output} holds a run with another recipe or other data; choose another output folder or delete it"
            )
        return
    write_text(path, content)


def _train(dataset: RoutingDataset, recipe: Recipe, output: Path, backbone: str, show_progress: bool) -> None:
    _keep_freed_memory()
    transformers.set_seed(recipe.seed)
    network, tokenizer_file = build_network(recipe, backbone, n_candidates=len(dataset.pool))
    tokenizer = PromptTokenizer(
        Tokenizer.from_str(tokenizer_file),
        max_prompt_tokens=network.configuration.max_prompt_tokens,
        cls_token_id=network.configuration.cls_token_id,
        sep_token_id=network.configuration.sep_token_id,
        pad_token_id=network.configuration.pad_token_id,
    )
    exponent = recipe.objective.source_weight_exponent
    split = {name: dataset.filter(split=name) for name in (recipe.data.train_split, recipe.data.validation_split)}
    train_rows, validation_rows = split[recipe.data.train_split], split[recipe.data.validation_split]
    for rows in (train_rows, validation_rows):
        if not ranks_candidates(rows.scores).any():
            raise DataError(f"split {rows.splits[0]!r} ranks nothing: on every prompt all candidates score alike")
    train = TokenizedDataset.build(train_rows, tokenizer, network.configuration.n_slots, exponent)
    validation = TokenizedDataset.build(validation_rows, tokenizer, 0, exponent)
    arguments = _arguments(recipe, output, len(train), show_progress)
    trainer = LookaheadTrainer(network, recipe, arguments, train, validation, output)
    checkpoint = _last_whole_checkpoint(output)
    if checkpoint is not None:
        load_average(trainer, checkpoint)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.state.global_step % trainer.args.eval_steps:
        trainer.evaluate()  # the last step competes too
    network = trainer.accelerator.unwrap_model(trainer.model)
    network.load_state_dict(load_file(output / "best.safetensors"))
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "data_fingerprint": dataset.fingerprint(),
        "n_train": len(train),
        "n_validation": len(validation),
        "best": read_best(output / "best.json"),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    save_predictor(network, tokenizer_file, dataset.pool, recipe.name, output / "predictor", record)
    shutil.rmtree(output / "checkpoints")


def save_predictor(
    network: LookaheadMLM, tokenizer_file: str, pool: CandidatePool, name: str, folder: Path, training: dict[str, Any]
) -> None:
    """Writes a saved predictor with torch weights, whole or not at all."""
    with replacing_folder(folder) as temporary:
        layout = PredictorFolder(temporary)
        write_text(layout.tokenizer, tokenizer_file)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, layout.weights)
        write_json(layout.training, training)
        config = PredictorConfig(
            format_version=FORMAT_VERSION,
            name=name,
            library_version=lookahead_router.__version__,
            network=network.configuration.model_dump(mode="json"),
        )
        layout.write(config, pool)


def build_network(recipe: Recipe, backbone: str, *, n_candidates: int) -> tuple[LookaheadMLM, str]:
    """A network on the pretrained encoder in a folder or Hub repository, and its `tokenizer.json`.

    Raises:
        CheckpointError: the backbone or its tokenizer cannot be loaded.
        ConfigurationError: no such MID tokens in the vocabulary, or a window that is too small.
    """
    try:
        backbone_config = AutoConfig.from_pretrained(backbone)
        if recipe.network.attention_dropout is not None:
            for key in ("attention_probs_dropout_prob", "attention_dropout"):
                if hasattr(backbone_config, key):
                    setattr(backbone_config, key, recipe.network.attention_dropout)
        # On a CPU the fused kernel's backward pass is slower than plain attention.
        attention = "sdpa" if torch.cuda.is_available() else "eager"
        encoder = AutoModel.from_pretrained(backbone, config=backbone_config, attn_implementation=attention)
        tokenizer = AutoTokenizer.from_pretrained(backbone)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot load the backbone: {error}", location=backbone) from error
    fast: Tokenizer = tokenizer.backend_tokenizer
    fast.no_truncation()
    fast.no_padding()
    settings = {
        "backbone_config": _portable(backbone_config.to_dict()),
        "n_candidates": n_candidates,
        "n_slots": recipe.network.n_slots,
        "mid_token_ids": mid_token_ids(fast, recipe.network.mid_tokens, n_candidates),
        "cls_token_id": tokenizer.cls_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_prompt_tokens": recipe.network.max_prompt_tokens,
        "head_dropout": recipe.network.head_dropout,
    }
    try:
        config = LookaheadMLMConfig(**settings)
    except ValidationError as error:
        raise ConfigurationError(f"this backbone and recipe.network do not fit: {describe(error)}") from error
    return LookaheadMLM(config, encoder.float()), fast.to_str()


def mid_token_ids(tokenizer: Tokenizer, pattern: str, n_candidates: int) -> tuple[int, ...]:
    """Ids of the MID tokens `pattern.format(index=0..K-1)`.

    Raises:
        ConfigurationError: the vocabulary lacks one; a shared unknown token would make candidates alike.
    """
    try:
        names = [pattern.format(index=index) for index in range(n_candidates)]
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(f"network.mid_tokens {pattern!r} holds other fields than {{index}}") from error
    ids = [tokenizer.token_to_id(name) for name in names]
    missing = [name for name, token_id in zip(names, ids, strict=True) if token_id is None]
    if missing or len(set(ids)) < n_candidates:
        raise ConfigurationError(
            f"network.mid_tokens {pattern!r}: the vocabulary lacks {missing or 'distinct entries'}; "
            "name a pattern with {index} of spare entries that it has"
        )
    return tuple(ids)


def _portable(backbone_config: dict[str, Any]) -> dict[str, Any]:
    """The config without what only this machine or this library version knows."""
    local = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
    return {key: value for key, value in backbone_config.items() if key not in local}


def _arguments(recipe: Recipe, output: Path, n_train: int, show_progress: bool) -> TrainingArguments:
    settings = recipe.optimizer
    per_step = settings.batch_size * settings.gradient_accumulation_steps
    n_steps = max(1, int(-(-n_train // per_step) * settings.n_epochs))
    every = -(-n_steps // settings.n_evaluations)
    return TrainingArguments(
        output_dir=str(output / "checkpoints"),
        max_steps=n_steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=int(settings.warmup_share * n_steps),
        lr_scheduler_type="cosine",
        max_grad_norm=settings.max_gradient_norm,
        bf16=settings.use_bf16,
        optim="adamw_torch_fused",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=min(every, 10),
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        label_names=["scores"],
        report_to="none",
        disable_tqdm=not show_progress,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _last_whole_checkpoint(output: Path) -> Path | None:
    """The newest checkpoint whose last file was written; what a kill left half done is skipped."""
    whole = [path for path in (output / "checkpoints").glob("checkpoint-*") if (path / AVERAGE_FILE).is_file()]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _keep_freed_memory() -> None:
    """Has glibc reuse the big blocks that every step frees, instead of returning them to the system.

    Page faults on fresh memory took half of a training step on two cores.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4  # mallopt(3)
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
