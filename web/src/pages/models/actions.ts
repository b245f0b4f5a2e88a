import { confirm } from "../../components/Confirm";
import { plainName } from "../../components/Name";
import { deleteModel } from "../../services/api/library";
import type { ModelEntry } from "../../services/api/types";
import { models } from "../../state/server";
import { toast, toastError } from "../../state/toasts";
import { t } from "../../texts";
import { bytes } from "../../components/format";

/** Whether it is gone. */
export async function askAndDelete(model: ModelEntry): Promise<boolean> {
  const texts = t().models;
  const name = plainName(model.name);
  if (!(await confirm(texts.deleteTitle(name), texts.deleteText(bytes(model.size)), t().common.delete))) return false;
  try {
    await deleteModel(model.name);
  } catch (error) {
    toastError(error);
    return false;
  }
  toast(texts.deleted(name), { tone: "good" });
  await models.refresh();
  return true;
}
