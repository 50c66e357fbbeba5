/**
 * What a frame is called: the video's name without folders and extension, and its time.
 * @param timestamp seconds
 */
export function frameName(videoName: string, timestamp: number): string {
  const base = videoName.split(/[/\\]/).at(-1) ?? '';
  const stem = base.replace(/(?<=.)\.[^.]*$/s, '');
  return `${stem || 'video'}-${timestamp.toFixed(3)}.jpg`;
}
