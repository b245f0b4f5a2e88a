import { loadedModels } from "../../services/api/native";

/** The context in tokens with which a model is loaded; null if it is not, or the server does not say so. */
export async function contextOf(model: string): Promise<number | null> {
  try {
    const loaded = await loadedModels();
    const wanted = model.includes(":") ? model : `${model}:latest`;
    return loaded.find((each) => each.name === model || each.name === wanted)?.context_length ?? null;
  } catch {
    return null; // a figure less
  }
}
