package org.microyolo.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The contract that travels in a .tflite: in a zip behind the model, as tflite/metadata.py puts it there.
 *
 * @property text the contract's JSON.
 * @property modelBytes bytes of the model itself, in front of the zip.
 */
internal class Attached private constructor(val text: String, val modelBytes: Int) {
    private class Entry(val name: String, val stored: Boolean, val size: Int, val at: Int)

    private class Reader(private val data: ByteArray) {
        private val bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN)

        fun short(at: Int) = if (at in 0..data.size - 2) bytes.getShort(at).toInt() and 0xFFFF else damaged()

        fun int(at: Int) = if (at in 0..data.size - 4) bytes.getInt(at) else damaged()

        fun text(at: Int, size: Int) =
            if (size >= 0 && at in 0..data.size - size) String(data, at, size, Charsets.UTF_8) else damaged()

        /** Where the zip's last record begins, null if there is no zip. */
        fun end() = (data.size - END_SIZE downTo maxOf(data.size - END_SIZE - MOST_COMMENT, 0)).find { int(it) == END }

        fun entries(end: Int): List<Entry> {
            var at = int(end + 16)
            return List(short(end + 10)) {
                if (int(at) != ENTRY) damaged()
                val nameSize = short(at + 28)
                val entry = Entry(text(at + 46, nameSize), short(at + 10) == 0, int(at + 24), int(at + 42))
                at += 46 + nameSize + short(at + 30) + short(at + 32)
                entry
            }
        }

        fun start(entry: Entry) = if (int(entry.at) == FILE) entry.at else damaged()

        fun content(entry: Entry): String {
            if (!entry.stored || entry.size > MOST_BYTES) damaged()
            return text(start(entry) + 30 + short(entry.at + 26) + short(entry.at + 28), entry.size)
        }

        private fun damaged(): Nothing = fail("the files in it cannot be read")
    }

    companion object {
        private const val NAME = "contract.json"
        private const val MOST_BYTES = 4 shl 20

        // PKZIP's records: their first four bytes, and sizes.
        private const val END = 0x06054b50
        private const val ENTRY = 0x02014b50
        private const val FILE = 0x04034b50
        private const val END_SIZE = 22
        private const val MOST_COMMENT = 0xFFFF

        /** What is in [data], the bytes of a .tflite; null if it has no contract. [ModelException] for a damaged zip. */
        fun find(data: ByteArray): Attached? {
            val reader = Reader(data)
            val entries = reader.entries(reader.end() ?: return null)
            val contract = entries.find { it.name == NAME } ?: return null
            return Attached(reader.content(contract), entries.minOf { reader.start(it) })
        }
    }
}
