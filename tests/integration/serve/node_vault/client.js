// What node-vault does with Transit by its own functions; prints each answer or refusal as JSON.
"use strict";

const vault = require("node-vault")({
  apiVersion: "v1",
  endpoint: process.env.VAULT_ADDR,
  token: process.env.VAULT_TOKEN,
});
const text = Buffer.from("a text").toString("base64");
const told = {};

async function tell(name, asked) {
  try {
    told[name] = await asked();
  } catch (error) {
    told[name] = { refused: error.response ? error.response.statusCode : 0, errors: error.message };
  }
  return told[name].data;
}

async function main() {
  await tell("health", () => vault.health());
  await tell("status", () => vault.status());
  await tell("initialized", () => vault.initialized());
  await tell("mounts", () => vault.mounts());
  await tell("own token", () => vault.tokenLookupSelf());
  await tell("renewed", () => vault.tokenRenewSelf());
  await tell("none yet", () => vault.transitListKeys());
  await tell("made", () => vault.transitCreateKey({ name: "k", type: "aes256-gcm96" }));
  await tell("read", () => vault.transitReadKey({ name: "k" }));
  await tell("listed", () => vault.transitListKeys());
  const sealed = await tell("sealed", () => vault.encryptData({ name: "k", plaintext: text }));
  await tell("rotated", () => vault.write("transit/keys/k/rotate", {}));
  const again = await tell("rewrapped", () => vault.rewrapData({ name: "k", ciphertext: sealed.ciphertext }));
  await tell("opened", () => vault.decryptData({ name: "k", ciphertext: again.ciphertext }));
  await tell("forged", () => vault.decryptData({ name: "k", ciphertext: "vault:v1:AAAA" }));
  await tell("kept", () => vault.transitDeleteKey({ name: "k" }));
  await tell("may go", () => vault.write("transit/keys/k/config", { deletion_allowed: true }));
  await tell("gone", () => vault.transitDeleteKey({ name: "k" }).then(() => ({})));
  await tell("not there", () => vault.transitReadKey({ name: "k" }));
  await tell("signer", () => vault.write("transit/keys/s", { type: "ed25519" }));
  const signed = await tell("signed", () => vault.write("transit/sign/s", { input: text }));
  await tell("holds", () => vault.write("transit/verify/s", { input: text, signature: signed.signature }));
  process.stdout.write(JSON.stringify(told));
}

main();
