"""`python -m docs.generate` rewrites docs/reference and docs/schemas."""

from pathlib import Path

from docs.generate.files import generated

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Write every generated file; say which ones changed."""
    for name, text in generated().items():
        path = ROOT / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
