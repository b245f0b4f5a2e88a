import type { LogLine } from "../../services/api/logs";

const LEVELS = ["INFO", "WARNING", "ERROR", "CRITICAL"];

/** Lines of at least a level that have some words. A level that is not known is never left out. */
export function matching(lines: readonly LogLine[], text: string, level: string): LogLine[] {
  const wanted = text.trim().toLowerCase();
  const least = LEVELS.indexOf(level);
  return lines.filter(
    (each) =>
      (LEVELS.indexOf(each.level) >= least || !LEVELS.includes(each.level)) &&
      (!wanted || `${each.logger} ${each.message}`.toLowerCase().includes(wanted)),
  );
}
