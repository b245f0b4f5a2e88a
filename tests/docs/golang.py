"""Compiles the Go examples of the docs: all of them into one program, which runs the one that its argument names."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_BUILD_TIMEOUT_S = 600
_MAIN = re.compile(r"^func main\(\)", re.M)
_RUNNER = """package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
%s)

// An example's request goes to the server of the tests, about what was made there; an error is a failure.
type strict struct{ plain http.RoundTripper }

func (s strict) RoundTrip(request *http.Request) (*http.Response, error) {
	var replaced [][2]string
	if err := json.Unmarshal([]byte(os.Getenv("CORRAL_DOCS_REPLACED")), &replaced); err != nil {
		log.Fatal(err)
	}
	for _, pair := range replaced {
		request.URL.Host = strings.ReplaceAll(request.URL.Host, pair[0], pair[1])
		request.URL.Path = strings.ReplaceAll(request.URL.Path, pair[0], pair[1])
		for _, values := range request.Header {
			values[0] = strings.ReplaceAll(values[0], pair[0], pair[1])
		}
	}
	response, err := s.plain.RoundTrip(request)
	if err == nil && response.StatusCode >= 400 {
		text, _ := io.ReadAll(response.Body)
		log.Fatal(response.Status, " ", string(text))
	}
	return response, err
}

func main() {
	http.DefaultTransport = strict{http.DefaultTransport}
	examples := map[string]func(){
%s	}
	examples[os.Args[1]]()
}
"""


def build(texts: Mapping[str, str], folder: Path) -> Path:
    """The program. `texts` are the examples by name, a Go identifier.

    Raises:
        AssertionError: one does not compile.
    """
    folder.mkdir()
    (folder / "go.mod").write_text("module examples\n\ngo 1.19\n")
    for name, text in texts.items():
        (folder / name).mkdir()
        own = _MAIN.sub("func Main()", text.replace("package main", f"package {name}", 1))
        (folder / name / f"{name}.go").write_text(own)
    imports = "".join(f'\t"examples/{name}"\n' for name in texts)
    table = "".join(f'\t\t"{name}": {name}.Main,\n' for name in texts)
    (folder / "main.go").write_text(_RUNNER % (imports, table))
    go = shutil.which("go")
    assert go is not None
    done = subprocess.run(
        [go, "build", "-o", "examples", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "examples"
