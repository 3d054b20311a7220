// The same upload without a browser.

const FIELDS = {
  tus: {
    every: "-H 'Tus-Resumable: 1.0.0'",
    content: "-H 'Content-Type: application/offset+octet-stream'",
  },
  ietf: {
    every: "-H 'Upload-Draft-Interop-Version: 6'",
    content: "-H 'Upload-Complete: ?1' -H 'Content-Type: application/partial-upload'",
  },
};

/** A word that every POSIX shell takes as it is. */
function quote(word) {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Commands that carry on the upload at `url` with the local file `name`, from wherever the server is. */
export function curlCommands(url, name, protocol) {
  const { every, content } = FIELDS[protocol];
  // "./" keeps a name that starts with a dash from being read as an option.
  return [
    `url=${quote(url)}`,
    `file=./${quote(name)}`,
    `offset=$(curl -sSI ${every} "$url" | tr -d '\\r' |`,
    "  awk 'tolower($1) == \"upload-offset:\" { print $2 }')",
    'tail -c +$((offset + 1)) "$file" | curl -sS -i -X PATCH -T - \\',
    `  ${every} -H "Upload-Offset: $offset" \\`,
    `  ${content} -H 'Expect:' "$url"`,
  ].join("\n");
}
