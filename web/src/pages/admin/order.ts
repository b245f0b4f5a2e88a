import { LIMITS, type KeyOrder, type Priority } from "../../services/api/keys";

/** The fields of the form for a new key, as they are written. */
export interface Form {
  name: string;
  scopes: readonly string[];
  models: string;
  expires: string;
  note: string;
  priority: Priority;
  limits: Record<(typeof LIMITS)[number], string>;
}

export const EMPTY: Form = {
  name: "",
  scopes: ["infer", "read"],
  models: "",
  expires: "",
  note: "",
  priority: "normal",
  limits: { rpm: "", tpm: "", tokens_per_day: "", max_parallel: "", max_predict: "" },
};

/** What is sent for a form: empty fields are left out. */
export function orderOf(form: Form): KeyOrder {
  const order: KeyOrder = { name: form.name.trim(), scopes: [...form.scopes], models: patternsOf(form.models) };
  if (form.expires.trim()) order.expires = form.expires.trim();
  if (form.note.trim()) order.note = form.note.trim();
  if (form.priority !== "normal") order.priority = form.priority;
  for (const name of LIMITS) {
    const value = Number(form.limits[name]);
    if (form.limits[name].trim() && Number.isInteger(value) && value > 0) order[name] = value;
  }
  return order;
}

/** Patterns of models, one a line or with commas between. */
export function patternsOf(text: string): string[] {
  return text
    .split(/[\n,]/)
    .map((each) => each.trim())
    .filter(Boolean);
}
