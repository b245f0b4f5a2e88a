/** Small values in the browser. A browser that keeps nothing (private windows, blocked storage) is no error. */

export function readLocal(name: string): string | null {
  return attempt(() => localStorage.getItem(`corral.${name}`));
}

export function writeLocal(name: string, value: string): void {
  attempt(() => localStorage.setItem(`corral.${name}`, value));
}

/** Gone when the tab is closed. */
export function readSession(name: string): string | null {
  return attempt(() => sessionStorage.getItem(`corral.${name}`));
}

export function writeSession(name: string, value: string | null): void {
  attempt(() => {
    if (value === null) sessionStorage.removeItem(`corral.${name}`);
    else sessionStorage.setItem(`corral.${name}`, value);
  });
}

function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}
