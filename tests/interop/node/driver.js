// A CSI driver's Identity service on @grpc/grpc-js. The flags and the lines on stdout are
// those of examples/csi_driver.rs, which explains them.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const { version } = require('@grpc/grpc-js/package.json');

const text = (value) => ({ type: 'string', default: value });
const isGiven = { type: 'boolean', default: false };
const { values: options } = parseArgs({
  options: {
    version: isGiven,
    address: text('/tmp/csi-driver/csi.sock'),
    name: text('example.csi.livenessprobe'),
    ready: isGiven,
    'ready-absent': isGiven,
    'not-ready': isGiven,
    error: text(undefined),
    message: text(''),
    'info-error': text(undefined),
    padding: text('0'),
    delay: text('0ms'),
    hang: isGiven,
  },
});

function milliseconds(duration) {
  const match = /^(\d+)(ms|s)$/.exec(duration);
  if (!match) throw new Error(`'${duration}' is no duration such as 500ms or 2s`);
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1);
}

// Writes a whole line to stdout at once.
function event(line) {
  fs.writeSync(1, `${line}\n`);
}

function varint(number) {
  const bytes = [];
  for (; number >= 0x80; number = Math.floor(number / 0x80)) bytes.push((number % 0x80) | 0x80);
  return Buffer.from([...bytes, number]);
}

// Encodes a protobuf field of bytes: a string or a message.
function field(number, content) {
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

function probeResponse() {
  const fields = [];
  if (!options['ready-absent']) {
    fields.push(field(1, Buffer.from(options['not-ready'] ? [] : [8, 1])));
  }
  const padding = Number(options.padding);
  if (padding > 0) fields.push(field(1000, Buffer.alloc(padding, 'x')));
  return Buffer.concat(fields);
}

function getPluginInfo(call, callback) {
  event('GetPluginInfo');
  if (options['info-error'] !== undefined) {
    callback({ code: Number(options['info-error']), details: '' });
    return;
  }
  const [name, vendorVersion] = [options.name, version].map((value) => Buffer.from(value));
  callback(null, Buffer.concat([field(1, name), field(2, vendorVersion)]));
}

const delay = milliseconds(options.delay);
// It is made once, because the padding may be hundreds of megabytes.
const reply = probeResponse();
function probe(call, callback) {
  event('probe begin');
  if (options.hang) return;
  setTimeout(() => {
    event('probe end');
    if (options.error !== undefined) {
      callback({ code: Number(options.error), details: options.message });
    } else {
      callback(null, reply);
    }
  }, delay);
}

// Messages are bytes, encoded by hand.
function unary(name) {
  const asItIs = (bytes) => bytes;
  return {
    path: `/csi.v1.Identity/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: asItIs,
    requestDeserialize: asItIs,
    responseSerialize: asItIs,
    responseDeserialize: asItIs,
  };
}

// Returns the address to listen on, in grpc-js's form.
function target(address) {
  if (address.startsWith('unix-abstract:')) {
    // node 18 loses the name, and node 20 fills it up with null bytes.
    throw new Error('node cannot listen on an abstract address');
  }
  if (!/^(unix:|\/)/.test(address)) return address;
  const file = address.replace('unix:', '');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  // A driver that was killed may have left its socket.
  fs.rmSync(file, { force: true });
  return `unix:${file}`;
}

function serve() {
  const server = new grpc.Server();
  server.addService(
    { GetPluginInfo: unary('GetPluginInfo'), Probe: unary('Probe') },
    { GetPluginInfo: getPluginInfo, Probe: probe },
  );
  const credentials = grpc.ServerCredentials.createInsecure();
  server.bindAsync(target(options.address), credentials, (error) => {
    if (error) throw error;
    event('listening');
  });
  process.on('SIGTERM', () => {
    server.tryShutdown((error) => {
      if (error) throw error;
      process.exit(0);
    });
  });
}

if (options.version) {
  console.log(`grpc-js ${version}, node ${process.version}`);
} else {
  serve();
}
