import type { VNode } from "preact";

import { Choice } from "../../components/Fields";
import { replace, route } from "../../state/route";
import { t } from "../../texts";
import { KeysPart } from "./KeysPart";
import { UsagePart } from "./UsagePart";
import "./admin.css";

export default function AdminPage(): VNode {
  const texts = t().admin;
  const part = route.value.rest[0] === "usage" ? "usage" : "keys";
  return (
    <div class="page">
      <div class="page-inner">
        <div class="page-head">
          <div>
            <h1>{t().pages.admin}</h1>
            <p>{texts.intros[part]}</p>
          </div>
        </div>
        <Choice
          label={t().pages.admin}
          value={part}
          options={[
            ["keys", texts.keys],
            ["usage", texts.usage],
          ]}
          onChoose={(each) => replace("admin", each)}
        />
        {part === "keys" ? <KeysPart /> : <UsagePart />}
      </div>
    </div>
  );
}
