import type { VNode } from "preact";

import { plainName } from "../../components/Name";
import { t } from "../../texts";
import { ticks, type Chart } from "./series";

const WIDTH = 720;
const HEIGHT = 220;
const LEFT = 64;
const BOTTOM = 22;
const TOP = 16;

/** Bars for days, stacked. The table below it has the same numbers. */
export function UsageChart({ chart, name, write }: { chart: Chart; name: string; write: (value: number) => string }): VNode {
  const { days, series, most } = chart;
  const lines = ticks(most);
  const top = lines.at(-1) ?? 1;
  const high = HEIGHT - TOP - BOTTOM;
  const y = (value: number): number => TOP + high - (high * value) / top;
  const step = (WIDTH - LEFT) / Math.max(1, days.length);
  const every = Math.ceil(days.length / 5);
  return (
    <svg class="usage-chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={name}>
      {lines.map((value) => (
        <g key={value}>
          <line x1={LEFT} x2={WIDTH} y1={y(value)} y2={y(value)} class="usage-line" />
          <text x={LEFT - 8} y={y(value) + 4} text-anchor="end">
            {write(value)}
          </text>
        </g>
      ))}
      {days.map((day, at) => (
        <g key={day}>
          <Bars chart={chart} at={at} x={LEFT + at * step} width={Math.min(40, step * 0.72)} step={step} y={y} write={write} />
          {(days.length - 1 - at) % every === 0 && (
            <text x={at === days.length - 1 ? WIDTH : LEFT + (at + 0.5) * step} y={HEIGHT - 4} text-anchor={at === days.length - 1 ? "end" : "middle"}>
              {dayName(day)}
            </text>
          )}
        </g>
      ))}
      {series.length === 0 && (
        <text x={(WIDTH + LEFT) / 2} y={HEIGHT / 2} text-anchor="middle">
          {t().admin.noUsage}
        </text>
      )}
    </svg>
  );
}

interface BarsProps {
  chart: Chart;
  at: number;
  x: number;
  width: number;
  step: number;
  y: (value: number) => number;
  write: (value: number) => string;
}

function Bars({ chart, at, x, width, step, y, write }: BarsProps): VNode {
  let below = 0;
  return (
    <>
      {chart.series.map(({ name, values }, index) => {
        const value = values[at] ?? 0;
        const from = below;
        below += value;
        if (value <= 0) return null;
        return (
          <rect
            key={name}
            x={x + (step - width) / 2}
            y={y(below)}
            width={width}
            height={Math.max(0.5, y(from) - y(below))}
            rx={1.5}
            data-series={index + 1}
          >
            <title>{`${dayName(chart.days[at] ?? "")} · ${plainName(name) || t().admin.others}: ${write(value)}`}</title>
          </rect>
        );
      })}
    </>
  );
}

export function dayName(day: string): string {
  const date = new Date(`${day}T00:00:00Z`);
  if (Number.isNaN(date.getTime())) return day;
  return date.toLocaleDateString(t().units.locale, { day: "numeric", month: "short", timeZone: "UTC" });
}
