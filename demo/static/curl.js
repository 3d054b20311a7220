// The same upload without a browser.

/** A word that every POSIX shell takes as it is. */
function quote(word) {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Commands that carry on the upload at `url` with the local file `name`, from wherever the server is. */
export function curlCommands(url, name) {
  // "./" keeps a name that starts with a dash from being read as an option.
  return [
    `url=${quote(url)}`,
    `file=./${quote(name)}`,
    "offset=$(curl -sSI -H 'Tus-Resumable: 1.0.0' \"$url\" | tr -d '\\r' |",
    "  awk 'tolower($1) == \"upload-offset:\" { print $2 }')",
    'tail -c +$((offset + 1)) "$file" | curl -sS -i -X PATCH -T - \\',
    "  -H 'Tus-Resumable: 1.0.0' -H \"Upload-Offset: $offset\" \\",
    "  -H 'Content-Type: application/offset+octet-stream' -H 'Expect:' \"$url\"",
  ].join("\n");
}
