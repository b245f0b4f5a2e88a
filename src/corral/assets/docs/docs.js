// Builds the page from the server's OpenAPI document, and sends requests to the server.
// Whatever comes from the document or from the server is put into the page as text, never as HTML.
"use strict";

const MAX_SHOWN_CHARS = 1_000_000;
const MAX_PRETTY_CHARS = 200_000;
const MAX_DEPTH = 6;
const STREAMS = ["application/x-ndjson", "text/event-stream"];
const METHODS = ["get", "head", "post", "put", "patch", "delete"];

let api = { paths: {}, components: { schemas: {} } };

/** An element. `props` are attributes, or listeners where the value is a function; strings become text. */
function el(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// --- Schemas ---

/** A schema without its `$ref`, and the name that the reference had. */
function resolve(schema) {
  const prefix = "#/components/schemas/";
  const name = schema?.$ref?.startsWith(prefix) ? schema.$ref.slice(prefix.length) : "";
  return name ? { name, schema: api.components.schemas[name] ?? {} } : { name: "", schema: schema ?? {} };
}

/** The type of a value in a few words. */
function typeText(given) {
  const { name, schema } = resolve(given);
  if (name) return name;
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeText))].join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === "array") return `list of ${typeText(schema.items)}`;
  if (Array.isArray(schema.type)) return schema.type.join(" or ");
  if (schema.format === "binary") return "file";
  if (schema.contentEncoding) return schema.contentEncoding;
  return schema.type ?? "any";
}

/** The object whose members a schema shows: itself, or what a list or a map holds. */
function objectIn(given) {
  const { schema } = resolve(given);
  if (schema.properties) return schema;
  if (schema.items) return objectIn(schema.items);
  if (typeof schema.additionalProperties === "object") return objectIn(schema.additionalProperties);
  return schema.anyOf?.map(objectIn).find(Boolean) ?? null;
}

/** The members of an object as a list; members that are objects open to their own. */
function membersList(given, depth = 0) {
  const object = objectIn(given);
  if (!object || depth >= MAX_DEPTH) return null;
  const list = el("ul", { class: "members" });
  const required = new Set(object.required ?? []);
  const names = Object.keys(object.properties);
  names.sort((a, b) => required.has(b) - required.has(a));
  for (const name of names) {
    const schema = object.properties[name];
    const line = [el("code", {}, name), " ", el("span", { class: "type" }, typeText(schema))];
    if (required.has(name)) line.push(" ", el("span", { class: "required" }, "required"));
    const about = resolve(schema).schema.description;
    if (about) line.push(el("span", { class: "about" }, about));
    if (objectIn(schema)) {
      const details = el("details", {}, el("summary", {}, ...line));
      details.addEventListener("toggle", () => {
        if (details.childElementCount === 1) details.append(membersList(schema, depth + 1) ?? "");
      });
      list.append(el("li", {}, details));
    } else list.append(el("li", {}, ...line));
  }
  return list;
}

/** A value that fits a schema: for bodies without an example, their required members. */
function sample(given, depth = 0) {
  const { schema } = resolve(given);
  if (schema.anyOf) return sample(schema.anyOf[0], depth);
  if (schema.enum) return schema.enum[0];
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object") {
    const names = depth < MAX_DEPTH ? (schema.required ?? []) : [];
    return Object.fromEntries(names.map((name) => [name, sample(schema.properties[name], depth + 1)]));
  }
  if (type === "array") return depth < MAX_DEPTH ? [sample(schema.items, depth + 1)] : [];
  return { integer: 1, number: 1, boolean: true }[type] ?? "";
}

// --- The parts of an operation ---

function badge(method) {
  return el("span", { class: `method ${method}` }, method.toUpperCase());
}

function section(title, ...children) {
  return el("section", {}, el("h4", {}, title), ...children);
}

function bodySection(operation) {
  const [type, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  if (!type) return null;
  return section("Request body", el("p", { class: "media" }, type), membersList(media.schema) ?? typeText(media.schema));
}

function answersSection(operation) {
  const rows = [];
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    const contents = Object.entries(answer.content ?? {});
    const title = status === "default" ? "other" : status;
    if (!contents.length) rows.push(el("p", {}, el("code", {}, title), " no body"));
    for (const [type, media] of contents) {
      const isStream = STREAMS.includes(type);
      const text = isStream ? "as a stream" : typeText(media.schema);
      const line = [el("code", {}, title), " ", text, " ", el("span", { class: "media" }, type)];
      const members = isStream ? null : membersList(media.schema);
      rows.push(members ? el("details", {}, el("summary", {}, ...line), members) : el("p", {}, ...line));
    }
  }
  return section("Answers", ...rows);
}

/** The text of a model, or its thoughts, in one line of a stream, whichever API it belongs to. */
function textOf(line) {
  try {
    const event = JSON.parse(line.replace(/^data: /, ""));
    if (event.type?.endsWith(".done")) return ""; // it repeats what the deltas had
    const choice = event.choices?.[0];
    for (const part of [event.message, choice?.delta, choice, event.delta, event]) {
      if (part === event.delta && typeof part === "string") return part;
      for (const name of ["content", "response", "text", "reasoning", "thinking"]) {
        if (part?.[name] && typeof part[name] === "string") return part[name];
      }
    }
  } catch { /* the name of an event, or the end of the stream */ }
  return "";
}

/** The form that sends a request, and what came back. */
class Trial {
  constructor(method, path, operation) {
    this.method = method.toUpperCase();
    this.path = path;
    this.changes = ["manage", "account"].includes(operation["x-corral-scope"]);
    [this.type, this.media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? ["", null];
    this.parameters = (operation.parameters ?? []).map((one) => this.input(one.name));
    this.fields = [];
    this.body = null;
    this.abort = null;
    this.send = el("button", { type: "submit" }, "Send");
    this.stop = el("button", { type: "button", class: "plain", disabled: true, click: () => this.abort?.abort() }, "Stop");
    this.status = el("p", { class: "status", role: "status" });
    this.output = el("pre", { class: "output", tabindex: "0", hidden: true });
    this.text = el("p", { class: "text", hidden: true });
    this.command = el("pre", { class: "command", tabindex: "0" });
    this.form = el("form", { submit: (event) => this.submit(event), input: () => this.showCommand() });
    this.form.append(...this.parameters.map((one) => one.label), ...this.bodyFields());
    this.form.append(el("div", { class: "buttons" }, this.send, this.stop), this.status, this.text, this.output);
    this.form.append(el("details", {}, el("summary", {}, "curl"), this.command));
    this.showCommand();
  }

  input(name, type = "text") {
    const field = el("input", { type, name, autocomplete: "off", spellcheck: "false" });
    return { name, field, label: el("label", { class: "line" }, el("span", {}, name), field) };
  }

  bodyFields() {
    if (!this.type) return [];
    if (this.type === "application/octet-stream") this.fields = [this.input("file", "file")];
    if (this.type === "multipart/form-data") {
      this.fields = Object.entries(this.media.schema.properties).map(([name, schema]) =>
        this.input(name, schema.format === "binary" ? "file" : "text"));
    }
    if (this.fields.length) return this.fields.map((one) => one.label);
    const text = JSON.stringify(this.media.example ?? sample(this.media.schema), null, 2);
    this.body = el("textarea", { spellcheck: "false", rows: Math.min(text.split("\n").length + 1, 20), "aria-label": "Body" });
    this.body.value = text;
    this.useModel();
    return [this.body];
  }

  /** Put the chosen model into the body or the form; not where it would be changed, or a new one named. */
  useModel() {
    if (this.changes) return;
    const model = document.getElementById("model").value;
    const field = [...this.parameters, ...this.fields].find((one) => one.name === "model");
    if (field && model) field.field.value = model;
    if (!this.body || !model) return;
    try {
      const value = JSON.parse(this.body.value);
      if (value === null || typeof value !== "object" || !("model" in value)) return;
      value.model = model;
      this.body.value = JSON.stringify(value, null, 2);
    } catch { /* somebody is writing in it */ }
  }

  url() {
    const values = Object.fromEntries(this.parameters.map((one) => [one.name, one.field.value]));
    const path = this.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name] ?? ""));
    return new URL(path.slice(1), document.baseURI).href;
  }

  request() {
    if (this.body) return { body: this.body.value, headers: { "Content-Type": "application/json" } };
    if (this.type === "application/octet-stream") return { body: this.fields[0].field.files[0] ?? "" };
    if (!this.fields.length) return {};
    const form = new FormData();
    for (const { name, field } of this.fields) {
      const value = field.type === "file" ? field.files[0] : field.value;
      if (value) form.append(name, value);
    }
    return { body: form };
  }

  showCommand() {
    const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const words = ["curl", this.method === "HEAD" ? "-I" : `-X ${this.method}`, quoted(this.url())];
    if (this.body) words.push("-H 'Content-Type: application/json'", `-d ${quoted(this.body.value)}`);
    else if (this.type === "application/octet-stream") words.push("-T FILE");
    else {
      for (const { name, field } of this.fields) {
        if (field.value) words.push(`-F ${quoted(field.type === "file" ? `${name}=@FILE` : `${name}=${field.value}`)}`);
      }
    }
    this.command.textContent = words.join(" ");
  }

  async submit(event) {
    event.preventDefault();
    if (this.abort) return;
    if (this.changes && !confirm(`${this.method} ${this.path} can change this server. Send it?`)) return;
    this.abort = new AbortController();
    this.send.disabled = true;
    this.stop.disabled = false;
    for (const part of [this.text, this.output]) {
      part.hidden = true;
      part.textContent = "";
    }
    this.status.className = "status";
    this.status.textContent = "Waiting for the answer.";
    const start = performance.now();
    try {
      await this.exchange(start);
    } catch (error) {
      this.status.classList.add("failed");
      this.status.textContent = error.name === "AbortError" ? "Stopped." : `The request failed: ${error.message}`;
    } finally {
      this.abort = null;
      this.send.disabled = false;
      this.stop.disabled = true;
    }
  }

  async exchange(start) {
    const given = { method: this.method, signal: this.abort.signal, cache: "no-store", ...this.request() };
    const response = await fetch(this.url(), given);
    const type = response.headers.get("content-type") ?? "no body";
    const head = `${response.status} ${response.statusText} · ${type}`;
    this.status.classList.add(response.ok ? "done" : "failed");
    this.status.textContent = head;
    await this.show(response, type);
    this.status.textContent = `${head} · ${((performance.now() - start) / 1000).toFixed(2)} s`;
  }

  /** Show the body in the pieces in which it comes, and the text in a stream; one JSON value is indented at the end. */
  async show(response, type) {
    const isStream = STREAMS.some((stream) => type.startsWith(stream));
    let line = "";
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let size = 0;
    for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
      const isAtEnd = this.output.scrollTop + this.output.clientHeight >= this.output.scrollHeight - 8;
      if (size < MAX_SHOWN_CHARS && part.value) this.output.append(part.value.slice(0, MAX_SHOWN_CHARS - size));
      size += part.value.length;
      if (isStream) {
        const lines = (line + part.value).split("\n");
        line = lines.pop();
        const text = lines.map(textOf).join("");
        if (text) this.text.append(text);
        this.text.hidden &&= !text;
      }
      this.output.hidden = false;
      if (isAtEnd) this.output.scrollTop = this.output.scrollHeight;
    }
    if (size > MAX_SHOWN_CHARS) this.output.append(`\n… ${size - MAX_SHOWN_CHARS} more characters`);
    if (type.startsWith("application/json") && size <= MAX_PRETTY_CHARS) {
      try {
        this.output.textContent = JSON.stringify(JSON.parse(this.output.textContent), null, 2);
      } catch { /* left as it came */ }
    }
  }
}

const trials = [];

function operationCard(method, path, operation) {
  const card = el("details", { class: "operation", id: operation.operationId });
  card.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  const title = el("h3", {}, badge(method), el("code", {}, path));
  card.append(el("summary", {}, title, el("span", { class: "about" }, operation.summary)));
  card.addEventListener("toggle", () => {
    if (!card.open || card.childElementCount > 1) return;
    const trial = new Trial(method, path, operation);
    trials.push(trial);
    const described = el("div", {}, ...[bodySection(operation), answersSection(operation)].filter(Boolean));
    card.append(el("div", { class: "columns" }, described, section("Try it", trial.form)));
  });
  return card;
}

// --- The page ---

function build() {
  const main = document.querySelector("main");
  const nav = document.querySelector("nav");
  for (const tag of api.tags) {
    const cards = [];
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS) {
        if (item[method]?.tags.includes(tag.name)) cards.push(operationCard(method, path, item[method]));
      }
    }
    const heading = el("h2", { id: `tag-${tag.name}` }, tag.description ?? tag.name);
    main.append(el("section", { class: "group" }, heading, ...cards));
    nav.append(el("a", { href: `#tag-${tag.name}` }, tag.description ?? tag.name));
  }
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll(".group")) {
    const cards = [...group.querySelectorAll(".operation")];
    for (const card of cards) card.hidden = !words.every((word) => card.dataset.words.includes(word));
    group.hidden = cards.every((card) => card.hidden);
  }
}

function openAnchor() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

async function loadModels() {
  const select = document.getElementById("model");
  const response = await fetch("api/tags");
  if (!response.ok) return;
  const { models } = await response.json();
  if (models.length) select.replaceChildren(...models.map((model) => el("option", {}, model.name)));
  select.addEventListener("change", () => {
    for (const trial of trials) {
      trial.useModel();
      trial.showCommand();
    }
  });
}

async function load() {
  const note = document.getElementById("note");
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    api = await response.json();
    document.getElementById("version").textContent = api.info.version;
    note.textContent = api.info.description;
    await loadModels();
    build();
  } catch (error) {
    note.textContent = `The description could not be loaded: ${error.message}`;
    return;
  }
  const input = document.getElementById("find");
  input.addEventListener("input", () => find(input.value));
  window.addEventListener("hashchange", openAnchor);
  openAnchor();
}

load();
