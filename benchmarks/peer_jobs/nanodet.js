// The package that NanoDet is from, at work on raw pictures: node nanodet.js PACKAGES PICTURES ROUNDS
// PACKAGES: folder with node_modules. PICTURES: folder with sizes.json ([[height, width], ...]) and
// pixels.bin (their RGB bytes). Prints one JSON line a round: milliseconds a picture, boxes.
const fs = require('fs');
const path = require('path');

const [packages, pictures, rounds] = process.argv.slice(2);
const within = (...parts) => path.resolve(packages, 'node_modules', ...parts);

// The package fetches its model files; Node's fetch does not know the scheme of local ones.
const web = globalThis.fetch;
globalThis.fetch = async (url, options) => {
  const place = String(url.url || url);
  if (!place.startsWith('file://')) return web(url, options);
  const type = place.endsWith('.json') ? 'application/json' : 'application/octet-stream';
  return new Response(fs.readFileSync(new URL(place)), { headers: { 'content-type': type } });
};

const off = { enabled: false };
const config = {
  backend: 'wasm',
  wasmPath: within('@tensorflow', 'tfjs-backend-wasm', 'dist') + '/',
  modelBasePath: 'file://' + within('@vladmandic', 'human-models', 'models') + '/',
  async: false, cacheSensitivity: 0,
  filter: off, face: off, body: off, hand: off, gesture: off, segmentation: off,
  object: {
    enabled: true, modelPath: 'nanodet.json', minConfidence: 0.4, iouThreshold: 0.5,
    maxDetected: 100, skipFrames: 0, skipTime: 0,
  },
};

async function main() {
  const { Human } = require(within('@vladmandic', 'human', 'dist', 'human.node-wasm.js'));
  const human = new Human(config);
  await human.tf.ready();
  await human.load();
  const bytes = fs.readFileSync(path.join(pictures, 'pixels.bin'));
  let at = 0;
  const read = JSON.parse(fs.readFileSync(path.join(pictures, 'sizes.json'))).map(([height, width]) => {
    const pixels = new Uint8Array(bytes.subarray(at, (at += height * width * 3)));
    return { shape: [height, width, 3], pixels };
  });
  for (let round = 0; round < Number(rounds); round += 1) {
    const before = process.cpuUsage();
    let boxes = 0;
    for (const { shape, pixels } of read) {
      const tensor = human.tf.tensor(pixels, shape, 'int32');
      const result = await human.detect(tensor, config);
      human.tf.dispose(tensor);
      boxes += result.object.length;
    }
    const used = process.cpuUsage(before);
    console.log(JSON.stringify({ ms: (used.user + used.system) / 1e3 / read.length, boxes }));
  }
}

main();
