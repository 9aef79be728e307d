package org.microyolo.core

/**
 * Reads JSON text (RFC 8259) into Map, List, String, Double, Boolean and null. Android's own parser is not on a desktop
 * JVM, where this code is tested, and accepts what is not JSON.
 */
internal class Json private constructor(private val text: String) {
    private var at = 0

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("nested too deep")
        skipSpace()
        return when (val next = peek()) {
            '{' -> map(depth)
            '[' -> list(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> if (next == '-' || next in '0'..'9') number() else fail("unexpected '$next'")
        }
    }

    private fun map(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        at++
        skipSpace()
        if (take('}')) return found
        do {
            skipSpace()
            if (peek() != '"') fail("a name must be in quotes")
            val name = string()
            skipSpace()
            if (!take(':')) fail("':' expected")
            found[name] = value(depth + 1)
            skipSpace()
        } while (take(','))
        if (!take('}')) fail("',' or '}' expected")
        return found
    }

    private fun list(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        at++
        skipSpace()
        if (take(']')) return found
        do {
            found.add(value(depth + 1))
            skipSpace()
        } while (take(','))
        if (!take(']')) fail("',' or ']' expected")
        return found
    }

    private fun string(): String {
        val found = StringBuilder()
        at++
        while (true) {
            val next = peek()
            at++
            when {
                next == '"' -> return found.toString()
                next == '\\' -> found.append(escaped())
                next < ' ' -> fail("control character in a string")
                else -> found.append(next)
            }
        }
    }

    private fun escaped(): Char {
        val next = peek()
        at++
        return when (next) {
            '"', '\\', '/' -> next

            'b' -> '\b'

            'f' -> '\u000C'

            'n' -> '\n'

            'r' -> '\r'

            't' -> '\t'

            'u' -> {
                if (at + 4 > text.length) fail("the text ends in the middle")
                val code = text.substring(at, at + 4).toIntOrNull(16) ?: fail("bad \\u escape")
                at += 4
                code.toChar()
            }

            else -> fail("bad escape")
        }
    }

    private fun number(): Double {
        val found = NUMBER.find(text, at)
        if (found == null || found.range.first != at) fail("bad number")
        at = found.range.last + 1
        return found.value.toDouble()
    }

    private fun word(word: String, value: Boolean?): Boolean? {
        if (!text.startsWith(word, at)) fail("unexpected '${peek()}'")
        at += word.length
        return value
    }

    private fun skipSpace() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("the text ends in the middle")

    private fun take(wanted: Char): Boolean {
        if (at >= text.length || text[at] != wanted) return false
        at++
        return true
    }

    private fun fail(why: String): Nothing = throw ModelException("$why at character $at")

    companion object {
        private const val MAX_DEPTH = 100
        private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")

        /** The value of [text]; [ModelException] says what is wrong and at which character. */
        fun parse(text: String): Any? {
            val json = Json(text)
            val value = json.value(0)
            json.skipSpace()
            if (json.at != text.length) json.fail("text after the end")
            return value
        }
    }
}
