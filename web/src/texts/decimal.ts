// A format costs a millisecond to make, and a speed is shown many times a second.
const formats = new Map<string, Intl.NumberFormat>();

/** A number with so many digits after the point, as a language writes it. */
export function decimal(locale: string, value: number, digits: number): string {
  const key = `${locale} ${digits}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(key, format);
  }
  return format.format(value);
}
