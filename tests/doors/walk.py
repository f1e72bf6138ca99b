"""Run as somebody without any right: which of the paths on standard input (JSON) it can list or read."""

import json
import os
import sys


def main():
    for path in json.load(sys.stdin):
        try:
            if os.path.isdir(path):
                os.listdir(path)
            else:
                with open(path, "rb") as file:
                    file.read(1)
        except OSError:
            continue
        print(path)


if __name__ == "__main__":
    main()
