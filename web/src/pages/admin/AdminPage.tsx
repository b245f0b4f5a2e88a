import type { VNode } from "preact";

import { Choice } from "../../components/Fields";
import { replace, route } from "../../state/route";
import { t } from "../../texts";
import { KeysPart } from "./KeysPart";
import { LogPart } from "./LogPart";
import { UsagePart } from "./UsagePart";
import "./admin.css";

const PARTS = ["keys", "usage", "log"] as const;

export default function AdminPage(): VNode {
  const texts = t().admin;
  const part = PARTS.find((each) => each === route.value.rest[0]) ?? "keys";
  return (
    <div class="page">
      <div class="page-inner">
        <div class="page-head">
          <div>
            <h1 class="page-title">{t().pages.admin}</h1>
            <p>{texts.intros[part]}</p>
          </div>
        </div>
        <Choice
          label={t().pages.admin}
          value={part}
          options={PARTS.map((each) => [each, texts[each]])}
          onChoose={(each) => replace("admin", each)}
        />
        {part === "keys" ? <KeysPart /> : part === "usage" ? <UsagePart /> : <LogPart />}
      </div>
    </div>
  );
}
