import { Bug } from "lucide";
import { Component, type ComponentChildren, type ComponentType, type VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button } from "../components/Button";
import { Empty, ErrorNotice, Skeleton } from "../components/States";
import { findPage, PAGES, type Page } from "../pages/table";
import { route } from "../state/route";
import { t } from "../texts";

const loaded = new Map<string, ComponentType>();

export function shownPage(): Page | undefined {
  const name = route.value.page;
  return name === "" ? PAGES[0] : findPage(name);
}

/** The page of the address; its code is loaded when it is first opened. */
export function CurrentPage({ page }: { page: Page }): VNode {
  const [, setDone] = useState(0);
  const [error, setError] = useState<unknown>(null);
  const Found = loaded.get(page.id);

  function load(): void {
    setError(null);
    page.load().then(
      (module) => {
        loaded.set(page.id, module.default);
        setDone((count) => count + 1);
      },
      (problem: unknown) => setError(problem),
    );
  }

  useEffect(() => {
    if (!loaded.has(page.id)) load();
  }, [page.id]);

  if (Found) {
    return (
      <Guard key={page.id}>
        <Found />
      </Guard>
    );
  }
  return (
    <div class="page">
      <div class="page-inner">{error ? <ErrorNotice error={error} onRetry={() => location.reload()} /> : <Skeleton />}</div>
    </div>
  );
}

/** An error in a page leaves the rest of the page usable. */
class Guard extends Component<{ children: ComponentChildren }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static override getDerivedStateFromError(error: unknown): { error: unknown } {
    console.error(error);
    return { error };
  }

  override render(): ComponentChildren {
    if (this.state.error === null) return this.props.children;
    return (
      <Empty
        icon={Bug}
        title={t().shell.crashed}
        actions={
          <Button kind="primary" onClick={() => location.reload()}>
            {t().shell.reload}
          </Button>
        }
      >
        {t().shell.crashedHint}
      </Empty>
    );
  }
}
