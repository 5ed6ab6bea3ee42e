"""`bench adapter export`: merged folders, GGUF files, Modelfiles and LoRA folders, each with its manifest."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
)

from harness.adapter_manifest import find_adapter  # noqa: E402
from harness.adapters.adapter_export import (  # noqa: E402
    EXPORT,
    ExportManifest,
    export_adapter,
    modelfile,
)
from harness.adapters.gguf_export import pre_tokenizer  # noqa: E402
from harness.adapters.gguf_weights import permuted, rope_factors  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness.files import read_record  # noqa: E402
from harness.hashing import file_digest  # noqa: E402
from harness.prompting.chat_rendering import Renderer  # noqa: E402
from harness.records import Message  # noqa: E402
from harness.workspace import Workspace  # noqa: E402
from tests.support.tiny_llama import LABELS, make_adapter, make_base, tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    base = make_base(folder / "base", bos=True, chat=True, seed=7)
    workspace = Workspace(folder / "home")
    make_adapter(workspace, base, "writer", rank=4)
    make_adapter(workspace, base, "sorter", rank=4, head=True, labels=("Sports", "World", "Sci/Tech", "Business"))
    return workspace


def logits(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


def test_a_merged_folder_loads_and_answers_as_base_with_adapter(workspace: Workspace, tmp_path: Path) -> None:
    from peft import PeftModel

    folder = find_adapter(workspace, "writer")
    made = export_adapter(folder, "merged", tmp_path / "merged", rows=0)
    base = workspace.root.parent / "base"
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(folder))
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    ids = [5, 9, 40, 11]
    assert torch.allclose(logits(tuned.eval(), ids), logits(whole.eval(), ids), atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template
    ends = json.loads((tmp_path / "merged" / "generation_config.json").read_text())["eos_token_id"]
    known = AutoTokenizer.from_pretrained(base)
    assert ends[0] == known.convert_tokens_to_ids("<|turn|>"), "what ends a turn of the chat template comes first"
    assert known.eos_token_id in ends
    kept = read_record(tmp_path / "merged" / EXPORT, ExportManifest, "export manifest")
    assert kept == made
    assert kept.files["model.safetensors"] == file_digest(tmp_path / "merged" / "model.safetensors")
    assert shlex.split(kept.serve)[:2] == ["vllm", "serve"]


def test_a_merged_head_is_a_classification_model_with_its_labels(workspace: Workspace, tmp_path: Path) -> None:
    made = export_adapter(find_adapter(workspace, "sorter"), "merged", tmp_path / "head", rows=0)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "head")
    assert type(model).__name__ == "LlamaForSequenceClassification"
    assert model.config.id2label == {0: "Sports", 1: "World", 2: "Sci/Tech", 3: "Business"}
    assert 'decode = "head"' in made.backend and "--runner pooling" in made.serve


def test_a_head_is_no_gguf_file(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a classification head: export it with --to merged"):
        export_adapter(find_adapter(workspace, "sorter"), "gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("to", "flag"), [("vllm", "--lora-modules"), ("sglang", "--lora-paths")])
def test_a_lora_folder_holds_the_adapter_and_says_how_it_is_served(
    workspace: Workspace, tmp_path: Path, to: Any, flag: str
) -> None:
    made = export_adapter(find_adapter(workspace, "writer"), to, tmp_path / "lora")
    assert sorted(made.files) == ["adapter_config.json", "adapter_model.safetensors"]
    words = shlex.split(made.serve)
    assert words[words.index(flag) + 1] == f"writer={tmp_path / 'lora'}"


def test_a_folder_with_something_in_it_is_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not an empty folder"):
        export_adapter(find_adapter(workspace, "writer"), "merged", tmp_path)


def test_rows_of_a_head_are_permuted_to_pairs() -> None:
    weight = np.arange(16.0).reshape(8, 2)  # two heads of four rows: halves (0, 1) and (2, 3) of each
    assert permuted(weight, 2)[:, 0].tolist() == [0, 4, 2, 6, 8, 12, 10, 14]


def test_llama_3s_long_positions_become_divisors() -> None:
    scaling = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(hidden_size=2048, num_attention_heads=32, head_dim=64, rope_parameters=scaling)
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    plain = 1 / 500000.0 ** (np.arange(0, 64, 2) / 64)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device="cpu")
    found = rope_factors(config)
    assert found is not None
    assert plain / scaled.numpy() == pytest.approx(found, rel=1e-4)
    assert rope_factors(LlamaConfig()) is None


def test_a_tokenizers_splitting_is_named_as_llama_cpp_names_it(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    described = json.loads(path.read_text())

    def of(pre: dict[str, Any]) -> str:
        path.write_text(json.dumps({**described, "pre_tokenizer": pre}))
        return pre_tokenizer(tmp_path)

    plain = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    assert of(plain) == "gpt-2"
    assert of({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, plain]}) == "smollm"
    pattern = {"Regex": "[a-z]+"}
    with pytest.raises(UsageError, match="splits texts by a pattern that this export does not know"):
        of({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": pattern}, plain]})
    with pytest.raises(UsageError, match="no byte-level BPE"):
        of({"type": "Whitespace"})


def test_a_modelfile_prints_what_the_chat_template_prints() -> None:
    renderer = Renderer(tokenizer(bos=True, chat=True))
    text = modelfile("m.gguf", renderer, ("<|turn|>", '<|"|>'), 4096, 12)
    template = text.split('TEMPLATE """')[1].split('"""')[0]
    turn, rest = template.split("{{ if .System }}")[1].split("{{ else }}")
    plain, frame = rest.split("{{ end }}")
    user = Message(role="user", content="Hello")
    alone = plain + frame.replace("{{ .Prompt }}", "Hello").replace("{{ .Response }}", "")
    assert alone == renderer.text((user,))
    both = turn.replace("{{ .System }}", "Be brief") + frame.replace("{{ .Prompt }}", "Hello").replace(
        "{{ .Response }}", ""
    )
    assert both == renderer.text((Message(role="system", content="Be brief"), user))
    assert 'PARAMETER stop "<|turn|>"' in text and 'PARAMETER stop "<|\\"|>"' in text
    assert LABELS


def test_a_gguf_file_holds_model_and_tokenizer(workspace: Workspace, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    made = export_adapter(find_adapter(workspace, "writer"), "gguf", tmp_path / "gguf", quantization="q8_0", rows=0)
    (name,) = (n for n in made.files if n.endswith(".gguf"))
    reader = gguf.GGUFReader(tmp_path / "gguf" / name)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama" and fields["llama.block_count"] == 2
    assert fields["tokenizer.ggml.pre"] == "gpt-2" and "assistant" in fields["tokenizer.chat_template"]
    names = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert names["blk.0.attn_q.weight"] == "Q8_0" and names["blk.0.attn_norm.weight"] == "F32"
    assert "output.weight" not in names, "tied to the embedding"
