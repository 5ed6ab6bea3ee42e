"""docs/reference/recipes.md: the fields of a recipe."""

from docs.generate.tables import record_sections, record_table, table
from harness.adapters.hosted.hosted_recipe import HostedRecipe
from harness.adapters.recipe import Recipe, list_recipes

INTRODUCTION = """# Recipes

A recipe is a TOML file that decides how an adapter is trained. `--recipe` takes a name below or a path to your own
file; `--set learning_rate=1e-4` and `--set lora.r=8` change single fields. An unknown field is refused with the
nearest name. `extends = "NAME"` starts from another recipe, by name or from a file beside this one. How to write one:
[Write a recipe](../write-a-recipe.md).

For completion and checks in an editor that knows Taplo or Even Better TOML, name the schema in the first line of the
file (a path, or the address of the file on the web):

```toml
#:schema ../bench/docs/schemas/recipe.schema.json
```
"""

HOSTED = """## Fields of hosted fine-tuning

A recipe with `objective = "hosted"` is trained by its provider and has these fields instead
([how](../training.md#hosted-fine-tuning))."""


def recipes_page() -> str:
    """The page."""
    built_in = table(["name", "about"], [[f"`{name}`", about] for name, about in list_recipes().items()])
    return (
        "\n\n".join(
            [
                INTRODUCTION.rstrip(),
                f"## Built in\n\n{built_in}",
                f"## Fields\n\n{record_table(Recipe)}",
                record_sections(Recipe),
                HOSTED,
                record_table(HostedRecipe),
            ]
        )
        + "\n"
    )
