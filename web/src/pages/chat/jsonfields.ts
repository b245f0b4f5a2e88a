import { isRecord, messageOf } from "../../services/api/errors";
import { t } from "../../texts";

/** Why a text is not a JSON object; empty if it is one. */
export function objectProblem(text: string): string {
  try {
    return isRecord(JSON.parse(text)) ? "" : t().chat.notObject;
  } catch (error) {
    return t().chat.notJson(messageOf(error));
  }
}
