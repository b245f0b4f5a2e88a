import { ArrowDown, ArrowUp, Copy, Ellipsis, FilePen, Trash2 } from "lucide";
import type { VNode } from "preact";

import { IconButton } from "../../components/Button";
import { Capabilities } from "../../components/Capabilities";
import { bytes, dateTime, relative, tokens } from "../../components/format";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import { Name, plainName } from "../../components/Name";
import type { ModelEntry } from "../../services/api/types";
import { link } from "../../state/route";
import { t } from "../../texts";
import { askAndDelete } from "./actions";
import type { SortBy } from "./listing";

interface Props {
  models: readonly ModelEntry[];
  by: SortBy;
  isDescending: boolean;
  onSort: (by: SortBy) => void;
  onCopy: (model: ModelEntry) => void;
  onExtend: (model: ModelEntry) => void;
}

export function ModelTable({ models, by, isDescending, onSort, onCopy, onExtend }: Props): VNode {
  const texts = t().models;
  const columns: [SortBy, string, isNumber: boolean][] = [
    ["name", texts.name, false],
    ["parameters", texts.parameterSize, true],
    ["context", texts.context, true],
    ["size", texts.size, true],
    ["modified", texts.modified, false],
  ];
  return (
    <div class="table-box models-table">
      <table class="table">
        <caption class="visually-hidden">{t().pages.models}</caption>
        <thead>
          <tr>
            {columns.map(([column, label, isNumber]) => (
              <th
                key={column}
                scope="col"
                data-column={column}
                data-number={isNumber || undefined}
                aria-sort={column === by ? (isDescending ? "descending" : "ascending") : undefined}
              >
                <button type="button" class="sort" onClick={() => onSort(column)}>
                  {label}
                  {column === by && <Icon of={isDescending ? ArrowDown : ArrowUp} size={14} />}
                </button>
              </th>
            ))}
            <th scope="col" data-column="actions">
              <span class="visually-hidden">{t().common.more}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {models.map((each) => (
            <ModelRow key={each.name} model={each} onCopy={onCopy} onExtend={onExtend} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ModelRow({ model, onCopy, onExtend }: { model: ModelEntry } & Pick<Props, "onCopy" | "onExtend">): VNode {
  const texts = t().models;
  const { details } = model;
  const modifiedMs = Date.parse(model.modified_at);
  const quantization = details.quantization_level === "unknown" ? "" : plainName(details.quantization_level);
  const context = details.context_length ? tokens(details.context_length) : "";
  const short = [details.parameter_size, quantization, context && texts.contextOf(context), bytes(model.size)];
  return (
    <tr>
      <th scope="row" data-column="name">
        <div class="models-name">
          <a href={link("models", model.name)}>
            <Name of={model.name} />
          </a>
          <span class="models-short">{short.filter(Boolean).join(" · ")}</span>
          <Capabilities of={model.capabilities} />
        </div>
      </th>
      <td data-column="parameters" data-number>
        {details.parameter_size || "–"}
        {quantization && <span class="models-quantization">{quantization}</span>}
      </td>
      <td data-column="context" data-number>
        {context || "–"}
      </td>
      <td data-column="size" data-number>
        {bytes(model.size)}
      </td>
      <td data-column="modified" title={dateTime(modifiedMs)}>
        {relative(modifiedMs)}
      </td>
      <td data-column="actions">
        <Menu
          button={(props) => (
            <IconButton icon={Ellipsis} size="small" label={texts.actionsFor(plainName(model.name))} {...props} />
          )}
          items={[
            { label: texts.copy, icon: Copy, run: () => onCopy(model) },
            { label: texts.extend, icon: FilePen, run: () => onExtend(model) },
            "line",
            { label: t().common.delete, icon: Trash2, tone: "bad", run: () => void askAndDelete(model) },
          ]}
        />
      </td>
    </tr>
  );
}
