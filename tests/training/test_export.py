"""Export and release: what ships equals what was trained, and the manifest says so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from homeguard.labels import Category
from homeguard.training.release import Part, ReleaseError, ReleaseOptions, release


def artefact(models: Path, name: str, file: str = "model.onnx") -> Path:
    folder = models / name
    folder.mkdir(parents=True)
    (folder / file).write_bytes(name.encode())
    (folder / "README.md").write_text(f"# {name}\n", encoding="utf-8")
    found = {"scale": 1.5, "bias": -0.25, "temperature": 2.0, "threshold": 0.4}
    (folder / "calibration.json").write_text(json.dumps({"calibration": found}), encoding="utf-8")
    return folder


def options_for(models: Path) -> ReleaseOptions:
    part = Part("cnn", "cnn", "CC BY-NC-SA 4.0", commercial_use=False, data="recordings")
    return ReleaseOptions(models, (part,), {"full": {"cnn": "cnn"}})


def test_a_manifest_states_hashes_labels_and_calibration(tmp_path: Path) -> None:
    artefact(tmp_path, "cnn")
    manifest = json.loads(release(options_for(tmp_path)).read_text(encoding="utf-8"))
    entry = manifest["models"]["cnn"]
    digest = hashlib.sha256(b"cnn").hexdigest()
    assert entry["files"] == {"cnn/model.onnx": {"sha256": digest, "bytes": 3}}
    assert entry["labels"] == [c.value for c in Category]
    assert entry["calibration"] == {"scale": 1.5, "bias": -0.25, "temperature": 2.0}
    assert entry["threshold"] == 0.4
    assert manifest["sets"]["full"] == {"cnn": "cnn"}


def test_the_daemon_accepts_the_manifest(tmp_path: Path) -> None:
    from homeguard.voting.registry import Manifest  # noqa: PLC0415 - loaded only where it is needed

    artefact(tmp_path, "cnn")
    Manifest.model_validate_json(release(options_for(tmp_path)).read_text(encoding="utf-8"))


def test_a_model_without_a_card_is_refused(tmp_path: Path) -> None:
    (artefact(tmp_path, "cnn") / "README.md").unlink()
    with pytest.raises(ReleaseError, match=r"no card README\.md"):
        release(options_for(tmp_path))


def test_a_sound_voter_without_calibration_is_refused(tmp_path: Path) -> None:
    (artefact(tmp_path, "cnn") / "calibration.json").unlink()
    with pytest.raises(ReleaseError, match="calibrate the voter first"):
        release(options_for(tmp_path))


def test_a_set_of_unknown_models_is_refused(tmp_path: Path) -> None:
    artefact(tmp_path, "cnn")
    options = replace(options_for(tmp_path), sets={"full": {"text": "text"}})
    with pytest.raises(ReleaseError, match="'text', which is not released"):
        release(options)


def test_more_than_40_mb_is_refused(tmp_path: Path) -> None:
    (artefact(tmp_path, "cnn") / "model.onnx").write_bytes(bytes(41_000_000))
    with pytest.raises(ReleaseError, match="at most 40 MB may ship"):
        release(options_for(tmp_path))


@pytest.mark.lab
class TestExport:
    """Needs torch; a model that was never trained exports like one that was."""

    pytestmark = pytest.mark.filterwarnings("ignore")

    @pytest.fixture(scope="class")
    def exported(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
        torch = pytest.importorskip("torch", reason="needs the extra train")
        pytest.importorskip("transformers", reason="needs the extra train")
        from homeguard.training.export import export_joint  # noqa: PLC0415 - loaded only where it is needed
        from homeguard.training.joint import SMALL, JointModel, base_model  # noqa: PLC0415 - loaded only where it is needed

        torch.manual_seed(0)
        whisper, vocabulary = base_model(SMALL)
        model = JointModel(whisper).eval()
        out = tmp_path_factory.mktemp("export")
        export_joint(model, vocabulary, out)
        return model, out

    def test_what_was_exported_equals_torch(self, exported) -> None:
        from homeguard.training.export import compare  # noqa: PLC0415 - loaded only where it is needed
        from homeguard.training.vocabulary import letters  # noqa: PLC0415 - loaded only where it is needed

        model, out = exported
        rng = np.random.default_rng(0)
        noise = rng.standard_normal(80_000).astype(np.float32) * 0.1
        parity = compare(model, letters(), out, [(noise, "ko"), (noise * 0.01, "en")])
        assert parity.encoding_cosine_min > 0.99
        assert parity.logit_error_mean < 0.05
        assert parity.same_category == 1.0

    def test_a_strayed_export_is_refused(self) -> None:
        pytest.importorskip("torch", reason="needs the extra train")
        from homeguard.training.export import (  # noqa: PLC0415 - loaded only where it is needed
            ExportError,
            Parity,
            refuse_strayed,
        )

        refuse_strayed(Parity(8, 0.999, 0.1, 1.0, 0.0))
        with pytest.raises(ExportError, match="strays from torch"):
            refuse_strayed(Parity(8, 0.9, 0.1, 1.0, 0.0))

    def test_runs_that_have_no_common_mean_are_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("torch", reason="needs the extra train")
        from homeguard.training.export import ExportError, ExportOptions, export  # noqa: PLC0415 - loaded only where it is needed

        first, second = tmp_path / "first", tmp_path / "second"
        for run, words in ((first, "one"), (second, "two")):
            run.mkdir()
            (run / "tokenizer.json").write_text(words)
        (first / "last.ckpt").touch()
        options = ExportOptions((first, second), tmp_path / "models", tmp_path / "cache")
        with pytest.raises(ExportError, match="second holds no checkpoint to export"):
            export(options)
        (second / "last.ckpt").touch()
        with pytest.raises(ExportError, match="write with other pieces"):
            export(options)

    def test_the_record_of_a_run_tells_what_it_began_with_and_no_folder(
        self, tmp_path: Path
    ) -> None:
        pytest.importorskip("torch", reason="needs the extra train")
        from homeguard.training.export import training_record  # noqa: PLC0415 - loaded only where it is needed

        models, run = tmp_path / "models", tmp_path / "run"
        (models / "whisper-home").mkdir(parents=True)
        (models / "whisper-home" / "training.json").write_text('{"mean_of": []}')
        run.mkdir()
        options = {"start": str(models), "steps": 2, "data": {"manifest": str(run / "m.csv")}}
        (run / "options.json").write_text(json.dumps(options))
        (run / "step=000002.ckpt").touch()
        assert training_record(run) == {
            "options": {"start": "models", "steps": 2, "data": {"manifest": "m.csv"}},
            "checkpoints": ["step=000002"],
            "began_with": {"mean_of": []},
        }
        assert training_record(models) == {"mean_of": []}

    def test_the_daemon_loads_it(self, exported) -> None:
        from homeguard.voting.whisper import Whisper  # noqa: PLC0415 - loaded only where it is needed

        _, out = exported
        whisper = Whisper(out / "whisper-home")
        assert whisper.max_s == 5.0
        encoding = whisper.hear(np.zeros(80_000, np.float32))
        assert encoding.array.shape == (250, 192)

    def test_faster_whisper_loads_it_and_suppresses_no_letter(self, exported) -> None:
        faster_whisper = pytest.importorskip("faster_whisper")
        from homeguard.training import tokens  # noqa: PLC0415 - loaded only where it is needed

        _, out = exported
        model = faster_whisper.WhisperModel(str(out / "whisper-home"), compute_type="int8")
        tokenizer = faster_whisper.tokenizer.Tokenizer(
            model.hf_tokenizer, multilingual=True, task="transcribe", language="ko"
        )
        assert tokenizer.sot_sequence == [tokens.symbol_id(t) for t in tokens.prompt("ko")[:3]]
        suppressed = set(tokenizer.non_speech_tokens)
        assert suppressed.isdisjoint(range(len(tokens.LETTERS)))
        assert tokenizer.decode(tokens.text_ids("불이야 help")) == normalize("NFD", "불이야 help")
