// What the writer and the reader of capture files share.  realtime/protocol/pcapng.py, which writes the same
// bytes, explains the file and its synthesised addresses.

export const SERVER = [192, 0, 2, 1];
export const FIRST_CLIENT = 10 * 2 ** 24 + 1;
export const FIRST_PORT = 40_000;
export const PORTS = 20_000;

export const FIN = 0x01;
export const SYN = 0x02;
export const PSH = 0x08;
export const ACK = 0x10;
export const TCP = 6;
export const UDP = 17;

// Types of blocks, of links, of options, and the tag of an exported PDU that says what it is.
export const SECTION = 0x0a0d0d0a;
export const INTERFACE = 1;
export const NAMES = 4;
export const PACKET = 6;
export const BYTE_ORDER = 0x1a2b3c4d;
export const RAW_IP = 101;
export const UPPER_PDU = 252;
export const COMMENT = 1;
export const NAME = 2;
export const SOURCE = 20;
export const SOURCE_PORT = 25;
export const TARGET = 21;
export const TARGET_PORT = 26;
export const INFO_COLUMN = 36;

export const handshakeNote = (connection, transport) => `connection ${connection}, ${transport}: this handshake is synthesised`;
export const HANDSHAKE_NOTE = /: this handshake is synthesised$/;
export const missingNote = (bytes) => `${bytes} bytes before this packet are missing`;
export const MISSING_NOTE = /^(\d{1,15}) bytes before this packet are missing$/;
