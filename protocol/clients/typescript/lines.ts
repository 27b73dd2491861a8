// Lines out of bytes.

/** Return what takes bytes in any pieces and gives whole lines, some at a time. It cuts at the byte LF alone. */
export function makeSplitter(take: (lines: string[]) => void): (bytes: Buffer) => void {
  let pieces: Buffer[] = [];
  return (bytes) => {
    const end = bytes.lastIndexOf(10);
    if (end < 0) return void pieces.push(bytes);
    const whole = bytes.subarray(0, end);
    const text = pieces.length > 0 ? Buffer.concat([...pieces, whole]).toString() : whole.toString();
    pieces = end + 1 < bytes.length ? [bytes.subarray(end + 1)] : [];
    take(text.split("\n"));
  };
}
