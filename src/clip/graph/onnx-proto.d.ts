/** Imported as text: `import schema from './onnx.proto' with { type: 'text' }`. */
declare module '*.proto' {
  const text: string;
  export default text;
}
