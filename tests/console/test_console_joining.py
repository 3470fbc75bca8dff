"""The modules of the first view are joined when the service starts, and remain one instance each."""

from __future__ import annotations

import re

import pytest

from service.console.files import FIRST_MODULE, FOLDER, read_files
from service.console.joining import join_modules

SOURCES = {
    "main.js": 'import { b, c } from "./b/b.js";\nimport { a } from "./a.js";\nimport { x } from "./vendor/x.js";\n\n'
    "const own = 1;\nconsole.log(a, b, c, x);\n",
    "a.js": "const own = 2;\nexport const a = 1;\nexport async function f() {}\n",
    "b/b.js": 'import { a } from "../a.js";\nexport function b() { return a; }\nexport class c {}\n',
    "vendor/x.js": "var q=1;export{q as x};",
    "other.js": 'import { a } from "./a.js";\n',
}


def test_a_module_comes_after_those_it_imports_and_keeps_its_names_to_itself() -> None:
    joined = join_modules(SOURCES, "main.js")
    assert joined.keys() == {"main.js", "a.js", "b/b.js"}
    main = joined["main.js"]
    assert main.startswith("import * as m")
    assert main.index("const a = 1") < main.index("function b()") < main.index("const own = 1")
    assert main.count("const own") == 2
    assert len(re.findall(r"\(\(\) => \{", main)) == 3
    assert "export const modules = {" in main
    assert main.count("export ") == 1


def test_a_part_passes_on_what_the_joined_file_holds() -> None:
    joined = join_modules(SOURCES, "main.js")
    assert joined["a.js"] == 'import { modules } from "./main.js";\nexport const { a, f } = modules["a.js"];\n'
    assert joined["b/b.js"] == 'import { modules } from "../main.js";\nexport const { b, c } = modules["b/b.js"];\n'


@pytest.mark.parametrize(
    "line",
    [
        'import a from "./a.js";',
        'import "./a.js";',
        "export default 1;",
        "export { a };",
        "export let a = 1;",
        'export * from "./a.js";',
    ],
)
def test_another_form_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"main.js: can't be joined: {line}")):
        join_modules({"main.js": f"{line}\n", "a.js": ""}, "main.js")


def test_everything_that_the_modules_of_the_page_export_is_passed_on() -> None:
    served = {name: file.content.decode() for name, file in read_files().items()}
    names = set(re.findall(r'"([\w/-]+\.js)": m\d+', served[FIRST_MODULE]))
    assert {"main.js", "api.js", "customer/view.js"} <= names
    for name in names - {FIRST_MODULE}:
        source = (FOLDER / name).read_text()
        exported = re.findall(r"^export (?:async )?\w+ (\w+)", source, re.MULTILINE)
        assert f"export const {{ {', '.join(exported)} }}" in served[name], name
