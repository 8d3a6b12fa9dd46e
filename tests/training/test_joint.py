"""The joint model: what a batch says, what each loss asks for, a run that resumes."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("lightning", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

from homeguard.training import tokens  # noqa: E402 - after the skip
from homeguard.training.export import export_joint, load_joint  # noqa: E402 - after the skip
from homeguard.training.joint import (  # noqa: E402 - after the skip
    SMALL,
    WHISPER_DIR,
    JointModel,
    JointOptions,
    JointTask,
    base_model,
    ctc_loss,
    guide_loss,
    label_loss,
    load_head,
    recipe,
    train,
)
from homeguard.training.mixture import (  # noqa: E402 - after the skip
    Batch,
    Example,
    FrozenEncoder,
    Mixture,
    MixtureOptions,
    collate,
)
from homeguard.training.sentences import WORD_LISTS  # noqa: E402 - after the skip
from homeguard.training.speech import SpeechOptions  # noqa: E402 - after the skip
from homeguard.training.vocabulary import letters  # noqa: E402 - after the skip
from homeguard.voting.registry import bundled_dir  # noqa: E402 - after the skip

pytestmark = [
    pytest.mark.lab,
    # Lightning's own: a DataLoader without workers, a deprecation inside it.
    pytest.mark.filterwarnings("ignore"),
]
SECOND = 16_000


def example(text: str | None, label: int = 14, language: str = "ko") -> Example:
    samples = np.random.default_rng(0).standard_normal(SECOND).astype(np.float32) * 0.01
    return Example(samples, label, text, language, (1_600, 8_000))


def batch_of(*examples: Example) -> Batch:
    return collate(examples, np.random.default_rng(3), letters())


def test_speech_is_to_be_written_letter_by_letter() -> None:
    batch = batch_of(example("불이야"))
    written = tokens.text_ids("불이야")
    assert batch.targets[0, 3:].tolist() == [*written, tokens.symbol_id(tokens.END)]
    assert batch.inputs[0, 4:].tolist() == written
    assert batch.targets[0, 0] == tokens.symbol_id("<|ko|>")
    assert batch.letter_counts.tolist() == [len(written)]
    assert batch.speech_frames.tolist() == [[5, 25]]


def test_a_wordless_window_is_to_end_at_once() -> None:
    batch = batch_of(example(""))
    end = tokens.symbol_id(tokens.END)
    assert batch.targets[0].tolist() == [tokens.symbol_id(tokens.NO_SPEECH), -100, -100, end]


def test_an_unknown_transcript_teaches_no_text() -> None:
    batch = batch_of(example(None), example("불"))
    assert set(batch.targets[0].tolist()) == {-100}
    assert batch.letter_counts.tolist()[0] == 0


def test_letters_and_text_are_inverse() -> None:
    text = "숨을 못 쉬겠어요 help"
    known = letters()
    assert known.ids(text) == tokens.text_ids(text)
    assert known.text(known.ids(text)) == text
    assert known.text([known.symbol(tokens.END)]) == ""


def test_the_guide_rewards_the_diagonal() -> None:
    batch = batch_of(example("불이야 불이야"))._replace(speech_frames=torch.tensor([[0, 49]]))
    count = int(batch.letter_counts[0])
    diagonal = torch.zeros(1, 3, batch.inputs.shape[1], 50)
    backwards = torch.zeros_like(diagonal)
    for n in range(count):
        frame = round(49 * n / count)
        diagonal[:, :, n + batch.text_start, frame] = 1.0
        backwards[:, :, n + batch.text_start, 49 - frame] = 1.0
    assert float(guide_loss((diagonal,), batch)) < 0.01
    assert float(guide_loss((backwards,), batch)) > 0.5


def test_losses_without_a_target_are_zero() -> None:
    batch = batch_of(example(None, label=-100))
    logits = torch.zeros(1, 50, len(tokens.LETTERS) + 1)
    attention = torch.zeros(1, 3, batch.inputs.shape[1], 50)
    assert float(ctc_loss(logits, batch)) == 0.0
    assert float(guide_loss((attention,), batch)) == 0.0
    assert float(label_loss(torch.zeros(1, 19), batch.labels)) == 0.0


def test_an_even_guess_costs_the_logarithm_of_the_categories() -> None:
    loss = label_loss(torch.zeros(2, 19), torch.tensor([4, 14]))
    assert float(loss) == pytest.approx(math.log(19), abs=1e-4)


def test_short_windows_are_encoded_like_the_beginning_of_long_ones() -> None:
    model = JointModel(base_model(SMALL)[0]).eval()
    mel = torch.randn(1, 80, 256)
    with torch.inference_mode():
        assert model.encode(mel).shape == (1, 128, 192)
        assert model.head(model.encode(mel)).shape == (1, 19)
        whole = torch.cat([mel, torch.zeros(1, 80, 244)], dim=2)
        ours = model.encode(whole)
        theirs = model.whisper.model.encoder(whole).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_what_ships_is_a_start_of_its_own(tmp_path: Path) -> None:
    whisper, vocabulary = base_model(SMALL)
    shipped = JointModel(whisper).eval()
    export_joint(shipped, vocabulary, tmp_path)
    chosen = recipe("ignored", MixtureOptions(tmp_path), tmp_path / "run", tmp_path)
    task = JointTask(chosen)
    load_head(task.model, tmp_path)
    assert chosen.ctc_weight == 0.0
    assert task.vocabulary.ids("불이야") == vocabulary.ids("불이야")
    mel = torch.randn(1, 80, 500)
    with torch.inference_mode():
        before, after = (m.head(m.encode(mel)) for m in (shipped, task.model.eval()))
    assert torch.allclose(before, after, atol=0.1)


def test_the_mean_with_what_ships_lies_between(tmp_path: Path) -> None:
    whisper, vocabulary = base_model(SMALL)
    export_joint(JointModel(whisper), vocabulary, tmp_path / "models")
    chosen = recipe("ignored", MixtureOptions(tmp_path), tmp_path / "run", tmp_path / "models")
    task = JointTask(chosen)
    (tmp_path / "run").mkdir()
    vocabulary.write(tmp_path / "run")
    torch.save({"state_dict": task.state_dict()}, tmp_path / "run" / "last.ckpt")

    runs = [tmp_path / "models", tmp_path / "run"]
    mean, kept = load_joint(runs, chosen.base)
    first, second = (load_joint([run], chosen.base)[0] for run in runs)
    layers = [m.head.mlp[1].weight for m in (mean, first, second)]
    assert torch.allclose(layers[0], (layers[1] + layers[2]) / 2, atol=1e-6)
    assert not torch.allclose(layers[1], layers[2])
    assert kept.ids("불이야") == vocabulary.ids("불이야")


def test_a_frozen_encoder_encodes_as_torch_does() -> None:
    folder = bundled_dir() / WHISPER_DIR
    whisper, _ = base_model(str(folder))
    mel = torch.from_numpy(
        np.random.default_rng(0).standard_normal((2, 80, 256)).astype(np.float32)
    )
    with torch.inference_mode():
        expected = JointModel(whisper).eval().encode(mel)
    found = FrozenEncoder(folder)(mel)
    assert found.shape == expected.shape == (2, 128, 512)
    alike = torch.nn.functional.cosine_similarity(found.flatten(1), expected.flatten(1))
    assert alike.min() > 0.99


needs_speech = pytest.mark.skipif(
    shutil.which("espeak-ng") is None
    or shutil.which("flite") is None
    or not all(p.exists() for p in WORD_LISTS.values()),
    reason="needs espeak-ng, flite, hunspell-ko and wamerican-small",
)


@pytest.fixture
def spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MixtureOptions:
    monkeypatch.setattr(
        "homeguard.training.mixture.simulate_rooms", lambda _cache: (np.ones(1, np.float32),)
    )
    speech = SpeechOptions(words=6, distress=6, harmless=6, held_out=1)
    return MixtureOptions(cache_dir=tmp_path / "cache", speech=speech, made_per_recipe=1)


@needs_speech
def test_workers_share_out_the_batches(spoken: MixtureOptions) -> None:
    def first(workers: int) -> list[Batch]:
        mixture = Mixture(spoken, letters(), batch_size=2, short_steps=0, seed=1)
        loader = torch.utils.data.DataLoader(mixture, batch_size=None, num_workers=workers)
        return [batch for batch, _ in zip(loader, range(4), strict=False)]

    for alone, shared in zip(first(0), first(2), strict=True):
        assert torch.equal(alone.log_mel, shared.log_mel)


@needs_speech
def test_ranks_share_out_the_batches(spoken: MixtureOptions, tmp_path: Path) -> None:
    def first() -> Batch:
        return next(iter(Mixture(spoken, letters(), batch_size=2, short_steps=0, seed=1)))

    def second() -> Batch:
        batches = iter(Mixture(spoken, letters(), batch_size=2, short_steps=0, seed=1))
        next(batches)
        return next(batches)

    of_one, after = first(), second()
    context = torch.multiprocessing.get_context("fork")
    results = context.Queue()

    def run(rank: int) -> None:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=rank, world_size=2
        )
        results.put((rank, first().log_mel.numpy()))

    processes = [context.Process(target=run, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert np.array_equal(found[0], of_one.log_mel.numpy())
    assert np.array_equal(found[1], after.log_mel.numpy())


@needs_speech
def test_a_decoder_alone_leaves_encoder_and_head(spoken: MixtureOptions, tmp_path: Path) -> None:
    models = bundled_dir()
    options = replace(
        recipe(SMALL, replace(spoken, encoder=models / WHISPER_DIR), tmp_path / "run", models),
        steps=2,
        batch_size=2,
        workers=0,
        precision="32-true",
        freeze_encoder=True,
        label_share=0.0,
    )
    whisper, _ = base_model(options.base)
    begun = JointModel(whisper)
    load_head(begun, models)
    trained = torch.load(train(options), weights_only=True)["state_dict"]
    changed = {
        name.removeprefix("whisper.model.").partition(".")[0]
        for name, weight in begun.state_dict().items()
        if not name.startswith("ctc.") and not torch.equal(trained[f"model.{name}"], weight)
    }
    assert changed == {"decoder", "whisper"}  # and the output, which is tied to its embedding


@needs_speech
def test_a_run_resumes_where_it_was(spoken: MixtureOptions, tmp_path: Path) -> None:
    options = JointOptions(
        data=spoken,
        out_dir=tmp_path / "run",
        steps=2,
        short_steps=1,
        batch_size=2,
        workers=0,
        checkpoint_every=1,
    )
    checkpoint = train(options)
    first = torch.load(checkpoint, weights_only=True)
    assert first["global_step"] == 2
    again = torch.load(train(replace(options, steps=3)), weights_only=True)
    assert again["global_step"] == 3
    assert {p.name for p in options.out_dir.glob("step=*.ckpt")} >= {"step=000003.ckpt"}
    assert (options.out_dir / "options.json").is_file()
    # Another run begins anew from these weights.
    other = replace(options, start=checkpoint, out_dir=tmp_path / "other", learning_rate=1e-12)
    gone_on = torch.load(train(other), weights_only=True)
    assert gone_on["global_step"] == 2
    for name, weight in again["state_dict"].items():
        torch.testing.assert_close(gone_on["state_dict"][name], weight, atol=1e-6, rtol=0)
