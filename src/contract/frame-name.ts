/**
 * What a frame is called: the video's name without folders and extension, and its time in three to six digits. Fewer
 * would name a neighbour's time where a frame is not shown at a whole millisecond.
 * @param timestamp seconds
 */
export function frameName(videoName: string, timestamp: number): string {
  const base = videoName.split(/[/\\]/).at(-1) ?? '';
  const stem = base.replace(/(?<=.)\.[^.]*$/s, '');
  return `${stem || 'video'}-${timestamp.toFixed(6).replace(/0{1,3}$/, '')}.jpg`;
}
