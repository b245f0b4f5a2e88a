"""The clients that the tests use, and how each finds the server; programs that are not tested, in the same way."""

from __future__ import annotations

from dataclasses import dataclass

HOST = "http://localhost:11434"
V1 = f"{HOST}/v1"


@dataclass(frozen=True, slots=True)
class Client:
    """`name` is that in the registry `where`: `PyPI`, `npm`, or "" for programs that the tests take as they are."""

    name: str
    where: str
    how: str
    tests: str


TESTED = (
    Client(
        "ollama", "PyPI", f'`OLLAMA_HOST={HOST}`, or `ollama.Client(host="{HOST}")`', "test_ollama_package.py"
    ),
    Client(
        "openai",
        "PyPI",
        f"`OPENAI_BASE_URL={V1}` and `OPENAI_API_KEY=none`, or `openai.OpenAI(base_url=…, api_key=…)`",
        "test_openai_package.py",
    ),
    Client(
        "anthropic",
        "PyPI",
        f"`ANTHROPIC_BASE_URL={HOST}` and `ANTHROPIC_API_KEY=none`, or `anthropic.Anthropic(base_url=…, api_key=…)`",
        "test_anthropic_package.py",
    ),
    Client("langchain-ollama", "PyPI", f'`ChatOllama(model=…, base_url="{HOST}")`', "test_langchain.py"),
    Client(
        "langchain-openai",
        "PyPI",
        f'`ChatOpenAI(model=…, base_url="{V1}", api_key="none")`',
        "test_langchain.py",
    ),
    Client(
        "litellm",
        "PyPI",
        f'`completion(model="ollama_chat/NAME", api_base="{HOST}")`; also `openai/NAME` with `{V1}`',
        "test_litellm.py",
    ),
    Client("llm", "PyPI", "with `llm-ollama`", "test_llm.py"),
    Client("llm-ollama", "PyPI", f"`OLLAMA_HOST={HOST}`, then `llm -m NAME`", "test_llm.py"),
    Client(
        "pydantic-ai-slim",
        "PyPI",
        f'`OpenAIChatModel(NAME, provider=OpenAIProvider(base_url="{V1}", api_key="none"))`',
        "test_typed_answers.py",
    ),
    Client("httpx", "PyPI", f"the URL `{HOST}/api/…`", "test_http_clients.py"),
    Client("aiohttp", "PyPI", f"the URL `{HOST}/api/…`", "test_http_clients.py"),
    Client("ollama", "npm", f'`new Ollama({{ host: "{HOST}" }})`', "test_node.py"),
    Client(
        "openai",
        "npm",
        f'`OPENAI_BASE_URL={V1}`, or `new OpenAI({{ baseURL: "{V1}", apiKey: "none" }})`',
        "test_node.py",
    ),
    Client("ai", "npm", "with `@ai-sdk/openai`", "test_node.py"),
    Client("@ai-sdk/openai", "npm", f'`createOpenAI({{ baseURL: "{V1}", apiKey: "none" }})`', "test_node.py"),
    Client("the JDK's `HttpClient`", "", "what Spring AI and LangChain4j send with", "test_http_clients.py"),
    Client("Node's `fetch`", "", f"the URL `{HOST}/api/…`", "test_http_clients.py"),
    Client("curl", "", f"the URL `{HOST}/api/…`", "test_http_clients.py"),
)
# Programs that need a desktop, a browser or the internet to be installed.
UNTESTED = (
    ("Open WebUI", f"`OLLAMA_BASE_URL={HOST}`; from a container `http://host.docker.internal:11434`"),
    ("LibreChat", f'in `librechat.yaml`, an endpoint with `baseURL: "{V1}"`'),
    ("AnythingLLM", f"LLM provider Ollama, base URL `{HOST}`"),
    ("Continue", f"in `config.yaml`, `provider: ollama` and `apiBase: {HOST}`"),
    ("Zed", f"in its settings, `language_models.ollama.api_url`: `{HOST}`"),
    ("VS Code Copilot", f"the model provider Ollama, with the endpoint `{HOST}`"),
    ("aider", f"`OLLAMA_API_BASE={HOST}`, then `aider --model ollama_chat/NAME`"),
    (
        "Claude Code, Codex, OpenCode, Cline, Droid, Qwen Code and other agents",
        "`corral launch AGENT --model NAME`",
    ),
    ("Home Assistant", f"the integration Ollama, URL `{HOST}`"),
    ("n8n", f"credentials of the kind Ollama, base URL `{HOST}`"),
    ("LlamaIndex", f'`Ollama(model=…, base_url="{HOST}")`'),
    ("LangChain.js", f'`new ChatOllama({{ baseUrl: "{HOST}" }})`'),
    ("Spring AI", f"`spring.ai.ollama.base-url={HOST}`"),
    ("LangChain4j", f'`OllamaChatModel.builder().baseUrl("{HOST}")`'),
    ("Ollama's Go package", f"`OLLAMA_HOST={HOST}`, with `api.ClientFromEnvironment()`"),
)
