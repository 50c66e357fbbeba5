/** @throws DOMException if it is not base64 */
export function bytesOfBase64(base64: string): Uint8Array<ArrayBuffer> {
  const characters = atob(base64);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index);
  return bytes;
}

/** Moves a JPEG file out of an answer into a blob, which browsers can keep on disk; base64 would stay in memory. */
export function jpegBlob(base64: string): Blob {
  return new Blob([bytesOfBase64(base64)], { type: 'image/jpeg' });
}
