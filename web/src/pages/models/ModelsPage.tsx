import type { VNode } from "preact";
import { useEffect } from "preact/hooks";

import { route } from "../../state/route";
import { models } from "../../state/server";
import { startPulls } from "../../state/transfers/pulls";
import { ModelList } from "./ModelList";
import { ModelView } from "./ModelView";
import "./models.css";

const LOOK_EVERY_MS = 15_000;

export default function ModelsPage(): VNode {
  const name = route.value.rest[0];
  useEffect(startPulls, []);
  useEffect(() => models.poll(LOOK_EVERY_MS), []);
  return (
    <div class="page">
      <div class="page-inner">{name === undefined ? <ModelList /> : <ModelView name={name} />}</div>
    </div>
  );
}
