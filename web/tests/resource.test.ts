import { beforeEach, expect, test, vi } from "vitest";

import { ApiError } from "../src/services/api/errors";
import { resource } from "../src/state/resource";
import { enterKey, forgetKey } from "../src/state/session";

beforeEach(() => {
  vi.useFakeTimers();
  forgetKey();
});

test.each([401, 403])("what is refused with %i is not asked for again before there is another key", async (status) => {
  let count = 0;
  const thing = resource(() => {
    count += 1;
    return Promise.reject(new ApiError("no", status));
  });
  const stop = thing.poll(1000);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(count).toBe(1);
  await thing.refresh();
  expect(count).toBe(2);
  enterKey("ck_other");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(count).toBe(3);
  stop();
});

test("what failed for another reason is asked for again, and what was there stays", async () => {
  const answers = [Promise.resolve(1), Promise.reject(new ApiError("gone", 0)), Promise.resolve(3)];
  for (const each of answers) each.catch(() => undefined);
  const thing = resource(() => answers.shift() ?? Promise.reject(new Error("once more")));
  const stop = thing.poll(1000);
  await vi.advanceTimersByTimeAsync(0);
  expect(thing.known.value).toMatchObject({ value: 1, error: null });
  await vi.advanceTimersByTimeAsync(1000);
  expect(thing.known.value).toMatchObject({ value: 1, error: { status: 0 } });
  await vi.advanceTimersByTimeAsync(1000);
  expect(thing.known.value).toMatchObject({ value: 3, error: null });
  stop();
});
